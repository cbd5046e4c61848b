//! Options of the store.

/// Options of an [`EmbeddedStore`](super::EmbeddedStore).
///
/// ```
/// use auth_layer::store::embedded::EmbeddedOptions;
///
/// // For a machine with little memory.
/// let options = EmbeddedOptions::default().with_cache_bytes(64 << 20);
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmbeddedOptions {
    /// How many bytes of the file are cached in memory at most. Default: 512 MiB.
    ///
    /// Beyond that, a write reads pages from the operating system's cache again, or from the disk. A
    /// smaller file takes no more memory than its size.
    pub cache_bytes: usize,
}

impl EmbeddedOptions {
    /// Sets [`cache_bytes`](Self::cache_bytes).
    #[must_use]
    pub const fn with_cache_bytes(self, bytes: usize) -> Self {
        Self { cache_bytes: bytes, ..self }
    }
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { cache_bytes: 512 << 20 }
    }
}
