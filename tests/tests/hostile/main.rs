//! Hostile tokens: whatever a stranger may send, the answer is a refusal, never a 5xx, a panic or a write (law 8).
//!
//! - [`forge`] takes a good token apart and signs it again, altered in one thing.
//! - [`corpus`] names the forgeries and says what each must be answered.
//! - [`access`], [`refresh`] and [`single_use`] try them in process on a store that is watched; [`node`] and [`wire`] on a
//!   real node.
//! - [`authorization`] attacks the header around the token, [`mutation`] everything at random.
//! - [`outage`] tries them while the store is down.
//! - [`custom`] has claims of the application's own.
//! - [`flood`] sends many at once.
//! - [`controls`] has what differs from a good token and is good all the same.

mod access;
mod authorization;
mod bench;
mod controls;
mod corpus;
mod custom;
mod door;
mod flood;
mod forge;
mod mutation;
mod node;
mod outage;
mod refresh;
mod single_use;
mod watched;
mod wire;

use std::collections::HashSet;

use auth_layer::store::TokenKind;

use crate::{bench::Bench, corpus::Corpus};

/// So that no edit empties the corpus, or hides a case behind another of its name.
#[tokio::test]
async fn the_corpus_is_large_and_each_name_is_one_case_s() {
    let bench = Bench::new();
    for kind in [TokenKind::Access, TokenKind::Refresh, TokenKind::SingleUse] {
        let corpus = Corpus::of(&bench.good(kind).await);
        let mut names = HashSet::new();
        let mut tokens = HashSet::new();
        for case in &corpus.cases {
            assert!(names.insert(&case.name), "{kind}: {} is there twice", case.name);
            assert!(tokens.insert(&case.token), "{kind}: {} is a token that is there already", case.name);
            assert_ne!(case.token, case.control, "{kind}: {} alters nothing", case.name);
        }
        assert!(names.len() >= 900, "{kind}: {} cases", names.len());
    }
    assert!(authorization::cases("a.b.c").len() >= 40);
}
