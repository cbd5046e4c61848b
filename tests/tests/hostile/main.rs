//! Hostile tokens. Each must be refused, never with a 5xx, a panic or a write (law 8).
//!
//! - [`forge`] takes a good token apart, alters one thing and signs it again.
//! - [`corpus`] names the forgeries and the answer that each must get.
//! - [`access`], [`refresh`] and [`single_use`] try them in process on a counting store; [`node`]
//!   and [`wire`] on a real node.
//! - [`authorization`] attacks the header around the token, [`mutation`] everything at random.
//! - [`outage`] tries them while the store is down.
//! - [`custom`] has claims of the application's own.
//! - [`flood`] sends many at once.
//! - [`fixture`] has the authorities, on a [`counting_store`]. [`protected_route`] is a route
//!   behind the layer.
//! - [`controls`] has tokens that differ from the issued one and are still good.

mod access;
mod authorization;
mod controls;
mod corpus;
mod counting_store;
mod custom;
mod fixture;
mod flood;
mod forge;
mod mutation;
mod node;
mod outage;
mod protected_route;
mod refresh;
mod single_use;
mod wire;

use std::collections::HashSet;

use auth_layer::store::TokenKind;

use crate::{corpus::Corpus, fixture::Fixture};

/// No edit may empty the corpus, or hide a case behind another of its name.
#[tokio::test]
async fn corpus_is_large_and_its_names_are_unique() {
    let fixture = Fixture::new();
    for kind in [TokenKind::Access, TokenKind::Refresh, TokenKind::SingleUse] {
        let corpus = Corpus::of(&fixture.good(kind).await);
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
