//! Compresses the files that pages load. A node sends them as they are made here.

use std::{env, error::Error, ffi::OsString, fs, io::Write, path::PathBuf};

use flate2::{Compression, write::GzEncoder};

const FOLDERS: [&str; 2] = ["web", "third-party/swagger-ui"];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    println!("cargo::rerun-if-changed=build.rs");
    for folder in FOLDERS {
        println!("cargo::rerun-if-changed={folder}");
        for file in fs::read_dir(folder)? {
            let file = file?;
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&fs::read(file.path())?)?;
            let name = [file.file_name(), OsString::from(".gz")].into_iter().collect::<OsString>();
            fs::write(out.join(name), encoder.finish()?)?;
        }
    }
    Ok(())
}
