//! Tests the laws of a [`TokenStore`], in functions to run on a store of your own.
//!
//! ```
//! use std::sync::Arc;
//! use auth_layer::store::{MemoryStore, conformance};
//!
//! # #[tokio::main]
//! # async fn main() {
//! conformance::all(&Arc::new(MemoryStore::new())).await;
//! # }
//! ```
//!
//! [`all`] runs everything. Each function can also be called alone, with the kind of [`Users`] to
//! try. A function that finds a broken law panics and says which one. The functions create their
//! own identifiers, so they can share a store with each other and with anything else. Those that
//! race tasks need tokio's runtime, and find more on its multi-threaded one.
//!
//! The functions use the current time, in whole milliseconds, because a store may remove expired
//! records by the server's clock. Records that [`purge`] removes are dated decades back, so that no
//! other user of the store loses any.
//!
//! A store behind a [`Cached`](crate::cache::Cached) must pass as well. Access tokens are checked
//! before they are revoked, so a cache that is not told of the revocation fails. Other tokens are
//! not, because they are never cached.
#![allow(clippy::missing_panics_doc, reason = "to panic is how each function reports, and the text above says so")]

pub mod check;
mod fixture;
pub mod list;
pub mod purge;
pub mod refresh;
pub mod revoke;
pub mod sign_in;
pub mod single_use;

use std::sync::Arc;

pub use fixture::Users;

use super::TokenStore;

/// Runs the whole suite, one law after the other, for each kind of user.
pub async fn all<S: TokenStore>(store: &Arc<S>) {
    for users in Users::ALL {
        laws(store, users).await;
    }
    check::look_alikes_are_different_users(&**store).await;
}

/// Runs the suite for one kind of user.
pub async fn laws<S: TokenStore>(store: &Arc<S>, users: Users) {
    check::absence_is_an_answer(&**store, users).await;
    check::issued_tokens_are_active(&**store, users).await;
    check::every_field_survives(&**store, users).await;
    check::a_session_is_read_as_it_is(&**store, users).await;
    check::no_check_outlives_a_revocation(store, users).await;

    sign_in::a_passed_epoch_is_fenced(&**store, users).await;
    sign_in::a_sign_in_called_again_revives_nothing(&**store, users).await;
    sign_in::a_disabled_user_is_fenced(&**store, users).await;
    sign_in::revoking_a_user_finds_every_sign_in(store, users).await;

    refresh::rotation_replaces_the_pair(&**store, users).await;
    refresh::only_the_current_token_rotates(&**store, users).await;
    refresh::one_parent_has_one_child(store, users).await;
    refresh::twins_leave_the_child_alive(store, users).await;
    refresh::the_current_pair_is_confirmed(&**store, users).await;
    refresh::a_confirmation_disturbs_no_rotation(store, users).await;
    refresh::a_delivery_is_noted_of_the_current_pair(&**store, users).await;
    refresh::the_window_begins_with_the_first_answer(&**store, users).await;
    refresh::a_second_note_leaves_the_window_alone(&**store, users).await;
    refresh::a_late_note_is_not_of_the_next_pair(store, users).await;
    refresh::revoked_sessions_do_not_rotate(&**store, users).await;
    refresh::revoking_finds_every_refresh(store, users).await;

    revoke::an_access_token_dies_alone(&**store, users).await;
    revoke::a_refresh_token_takes_its_session_along(&**store, users).await;
    revoke::a_single_use_token_dies_alone(&**store, users).await;
    revoke::a_session_takes_all_its_tokens_along(&**store, users).await;
    revoke::a_user_takes_all_sessions_along_but_one(&**store, users).await;
    revoke::only_what_was_judged_is_punished(&**store, users).await;
    revoke::a_session_that_moves_on_is_not_punished(store, users).await;
    revoke::unsettled_revocations_are_named_and_settled(&**store, users).await;
    revoke::concurrent_revocations_agree(store, users).await;
    revoke::each_revocation_of_a_user_raises_the_fence(store, users).await;

    single_use::one_use_is_accepted(store, users).await;
    single_use::whatever_else_is_refused(&**store, users).await;
    single_use::a_token_recorded_again_is_not_revived(&**store, users).await;
    single_use::dead_sessions_get_no_tokens(&**store, users).await;
    single_use::revoking_a_session_finds_every_token(store, users).await;

    list::sessions_are_listed_while_they_live(&**store, users).await;
    list::sessions_used_longest_ago_are_surplus(&**store, users).await;
    list::sessions_of_one_time_are_in_the_order_of_their_ids(&**store, users).await;

    purge::the_bound_is_sharp(&**store, users).await;
    purge::nothing_purged_comes_back(&**store, users).await;
    purge::many_are_purged_at_once(&**store, users).await;
    purge::a_session_outlives_its_expired_tokens(&**store, users).await;
    purge::a_token_that_outlives_its_session_is_found_by_a_revocation(&**store, users).await;
    purge::a_purge_takes_no_session_that_goes_on(store, users).await;
    purge::a_single_use_token_is_kept_as_long_as_it_could_be_used(&**store, users).await;
}
