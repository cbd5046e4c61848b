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
pub mod deny;
mod fixture;
pub mod list;
pub mod one_time;
pub mod purge;
pub mod refresh;
pub mod reserve;
pub mod revoke;
pub mod sign_in;
pub mod single_use;

use std::sync::Arc;

pub use fixture::Users;

use super::{DynStore, TokenStore};

/// Runs the whole suite, one law after the other, for each kind of user.
pub async fn all<S: TokenStore>(store: &Arc<S>) {
    let store = &erased(store);
    for users in Users::ALL {
        laws_of(store, users).await;
    }
    check::similar_subjects_are_different_users(&**store).await;
    keys_of(store).await;
}

/// Hides the type of a store: so the laws are compiled once, and not for each store.
fn erased<S: TokenStore>(store: &Arc<S>) -> Arc<DynStore> {
    Arc::new(DynStore::new(Arc::clone(store)))
}

/// Runs the part of the suite that needs no users: reservations, one-time records and denials.
pub async fn keys<S: TokenStore>(store: &Arc<S>) {
    keys_of(&erased(store)).await;
}

async fn keys_of(store: &Arc<DynStore>) {
    reserve::key_is_reserved_once(&**store).await;
    reserve::expired_reservation_is_taken_again(&**store).await;
    reserve::concurrent_reservations_have_one_winner(store).await;

    one_time::record_is_redeemed_once(&**store).await;
    one_time::repeated_put_changes_nothing(&**store).await;
    one_time::expired_record_is_unknown(&**store).await;
    one_time::concurrent_redemptions_have_one_first(store).await;

    deny::denial_is_found_until_it_expires(&**store).await;
    deny::denial_keeps_the_later_of_each_time(&**store).await;
    deny::concurrent_denials_keep_the_latest_times(store).await;
    deny::check_after_a_denial_finds_it(store).await;

    purge::reservation_is_kept_until_the_bound(&**store).await;
    purge::one_time_record_is_kept_until_the_bound(&**store).await;
    purge::purged_one_time_record_is_not_revived(&**store).await;
    purge::denial_is_kept_until_the_bound(&**store).await;
}

/// Runs the suite for one kind of user, without [`keys`].
pub async fn laws<S: TokenStore>(store: &Arc<S>, users: Users) {
    laws_of(&erased(store), users).await;
}

async fn laws_of(store: &Arc<DynStore>, users: Users) {
    check::unknown_ids_are_no_error(&**store, users).await;
    check::issued_tokens_are_active(&**store, users).await;
    check::every_session_field_round_trips(&**store, users).await;
    check::session_read_returns_what_is_recorded(&**store, users).await;
    check::check_after_a_revocation_is_revoked(store, users).await;

    sign_in::passed_epoch_is_fenced(&**store, users).await;
    sign_in::repeated_sign_in_revives_nothing(&**store, users).await;
    sign_in::disabled_user_is_fenced(&**store, users).await;
    sign_in::user_revocation_finds_every_sign_in(store, users).await;

    one_time::session_opens_with_its_record(&**store, users).await;
    one_time::concurrent_sessions_with_one_record_have_one_first(store, users).await;

    refresh::rotation_replaces_the_pair(&**store, users).await;
    refresh::rotation_needs_the_current_token(&**store, users).await;
    refresh::concurrent_rotations_have_one_child(store, users).await;
    refresh::concurrent_rotations_to_one_child_leave_it_active(store, users).await;
    refresh::confirmation_needs_the_current_pair(&**store, users).await;
    refresh::confirmation_disturbs_no_rotation(store, users).await;
    refresh::delivery_note_applies_to_the_current_pair_only(&**store, users).await;
    refresh::grace_window_starts_at_the_first_delivery(&**store, users).await;
    refresh::repeated_delivery_note_leaves_the_window_alone(&**store, users).await;
    refresh::late_delivery_note_never_applies_to_the_next_pair(store, users).await;
    refresh::rotation_in_a_revoked_session_is_lost(&**store, users).await;
    refresh::revocation_finds_every_refresh(store, users).await;

    revoke::access_token_is_revoked_alone(&**store, users).await;
    revoke::refresh_token_revokes_its_session(&**store, users).await;
    revoke::single_use_token_is_revoked_alone(&**store, users).await;
    revoke::session_revokes_all_its_tokens(&**store, users).await;
    revoke::user_revokes_all_sessions_but_one(&**store, users).await;
    revoke::reuse_revokes_only_the_session_that_was_read(&**store, users).await;
    revoke::reuse_never_revokes_a_session_that_was_refreshed(store, users).await;
    revoke::unsettled_revocations_are_named_and_settled(&**store, users).await;
    revoke::concurrent_revocations_count_the_session_once(store, users).await;
    revoke::user_revocation_always_raises_the_fence(store, users).await;

    single_use::concurrent_uses_accept_one(store, users).await;
    single_use::invalid_tokens_are_refused(&**store, users).await;
    single_use::repeated_record_revives_nothing(&**store, users).await;
    single_use::record_in_a_dead_session_is_fenced(&**store, users).await;
    single_use::session_revocation_finds_every_token(store, users).await;

    list::sessions_are_listed_while_they_live(&**store, users).await;
    list::sessions_used_longest_ago_are_surplus(&**store, users).await;
    list::sessions_with_equal_times_are_ordered_by_id(&**store, users).await;
    list::sessions_of_a_client_are_listed_in_pages(&**store, users).await;

    purge::purge_removes_only_what_expired_before_the_bound(&**store, users).await;
    purge::purged_records_are_not_revived(&**store, users).await;
    purge::purge_removes_more_than_one_batch(&**store, users).await;
    purge::session_outlives_its_expired_tokens(&**store, users).await;
    purge::revocation_finds_a_token_that_outlives_its_session(&**store, users).await;
    purge::purge_keeps_a_session_that_is_refreshed(store, users).await;
    purge::single_use_token_is_kept_until_the_bound(&**store, users).await;
}
