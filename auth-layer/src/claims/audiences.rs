//! The audiences for which tokens are accepted.

use std::{
    ops::Deref,
    sync::atomic::{AtomicU64, Ordering},
};

/// The accepted audiences. A token must name at least one (RFC 7519 §4.1.3).
#[derive(Clone, Debug, Default)]
pub(crate) struct Audiences {
    names: Vec<String>,
    /// Equal numbers mean equal names, so a cached verdict is found without comparing texts.
    number: u64,
}

impl Audiences {
    pub(crate) fn push(&mut self, name: String) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        self.names.push(name);
        self.number = NEXT.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether a token for `aud` is for one of these. Seldom asked of a cached token, whose number
    /// says so.
    #[inline(never)]
    pub(crate) fn include_any(&self, aud: &[String]) -> bool {
        aud.iter().any(|aud| self.names.contains(aud))
    }
}

impl Deref for Audiences {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences_of_one_number_have_the_same_names() {
        let mut audiences = Audiences::default();
        audiences.push("api".into());
        let mut more = audiences.clone();
        assert_eq!(more.number(), audiences.number());
        more.push("billing".into());
        assert_ne!(more.number(), audiences.number());
        assert!(more.include_any(&["x".into(), "billing".into()]) && !audiences.include_any(&["billing".into()]));
    }
}
