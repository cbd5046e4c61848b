//! A node whose keys differ from those of other nodes logs that, for tokens that the store knows.

use std::{
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use super::*;

/// Keeps the warnings of this thread.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct EventText(String);

impl Visit for EventText {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = EventText(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn authority_on(store: &Arc<MemoryStore>, key: &SigningKey, clock: &ManualClock) -> Authority {
    let keys = Keyring::new(key.clone());
    Authority::builder("https://issuer", Arc::clone(store))
        .audience("api")
        .keys(keys)
        .clock(clock.clone())
        .build()
        .unwrap()
}

#[tokio::test]
async fn keys_log_a_missing_key_of_a_live_token_once_a_minute() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let (clock, store) = (clock(), Arc::new(MemoryStore::new()));
    let keys = [SigningKey::generate().unwrap(), SigningKey::generate().unwrap()];
    let [one, other] = [&keys[0], &keys[1]].map(|key| authority_on(&store, key, &clock));
    let pair = sign_in(&one, UserId::generate()).await;
    for _ in 0..20 {
        assert_eq!(fault(&other, &pair.access_token).await, TokenFault::Key);
        finish_background_work().await;
    }
    let logged = warnings.take();
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].contains(keys[0].kid()), "{logged:?}");
    assert!(!logged[0].contains(&pair.access_token) && !logged[0].contains(&pair.session_id.to_string()), "{logged:?}");

    clock.advance(MINUTE);
    assert_eq!(refusal(&other, &pair.refresh_token).await, GrantFault::Token(TokenFault::Key));
    finish_background_work().await;
    assert_eq!(warnings.take().len(), 1, "of refresh tokens, too");

    clock.advance(MINUTE);
    one.revoke_session(pair.session_id).await.unwrap();
    assert_eq!(fault(&other, &pair.access_token).await, TokenFault::Key);
    finish_background_work().await;
    assert_eq!(warnings.take(), Vec::<String>::new(), "of one that is revoked it does not matter");
}

#[tokio::test]
async fn keys_log_no_missing_key_of_a_forged_token() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let (clock, store) = (clock(), Arc::new(MemoryStore::new()));
    let authority = authority_on(&store, &SigningKey::generate().unwrap(), &clock);
    // Each token is well formed, current, and for this issuer and audience. Only the store can
    // tell.
    let forger = authority_on(&Arc::default(), &SigningKey::generate().unwrap(), &clock);
    for _ in 0..20 {
        let pair = sign_in(&forger, UserId::generate()).await;
        assert_eq!(fault(&authority, &pair.access_token).await, TokenFault::Key);
        finish_background_work().await;
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(warnings.take(), Vec::<String>::new());
}
