//! Lists the public API of a crate, one item a line, from the JSON that rustdoc has written. `.ci/api`
//! compares the list with `auth-layer/public-api.txt`.

use std::{env, error::Error};

use public_api::Builder;

#[expect(clippy::print_stdout, reason = "the list is its output")]
fn main() -> Result<(), Box<dyn Error>> {
    let json = env::args().nth(1).ok_or("name the file that rustdoc has written")?;
    let api = Builder::from_rustdoc_json(json)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .omit_blanket_impls(true)
        .build()?;
    print!("{api}");
    Ok(())
}
