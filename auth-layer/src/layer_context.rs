//! What a layer attaches to the requests that it lets in.

use std::{any::type_name, fmt, sync::Arc, time::Duration};

use http::{Extensions, HeaderValue};

use crate::clock::{Clock, Timestamp};

/// How a layer refuses, and its clock. Guards and extractors behind the layer use the same.
///
/// Cloning it copies a pointer.
#[derive(Clone)]
pub(crate) struct LayerContext(Arc<Context>);

struct Context {
    realm: Realm,
    resource_metadata: Option<ResourceMetadata>,
    proofs: Option<ProofChallenge>,
    clock: Arc<dyn Clock>,
    leeway: Duration,
}

/// How a layer that takes proofs of possession asks for one.
pub(crate) struct ProofChallenge {
    /// Whether tokens without a proof are refused.
    pub(crate) is_required: bool,
    /// Makes the nonce for clients, if one is demanded.
    pub(crate) nonce: Option<NonceSource>,
}

type NonceSource = Box<dyn Fn(Timestamp) -> HeaderValue + Send + Sync>;

impl LayerContext {
    pub(crate) fn new(
        realm: Realm,
        resource_metadata: Option<ResourceMetadata>,
        proofs: Option<ProofChallenge>,
        clock: Arc<dyn Clock>,
        leeway: Duration,
    ) -> Self {
        Self(Arc::new(Context { realm, resource_metadata, proofs, clock, leeway }))
    }

    /// Whether both are of one layer.
    #[inline]
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn realm(&self) -> &Realm {
        &self.0.realm
    }

    pub(crate) fn resource_metadata(&self) -> Option<&ResourceMetadata> {
        self.0.resource_metadata.as_ref()
    }

    /// Returns how the layer asks for proofs, if it takes any.
    pub(crate) fn proofs(&self) -> Option<&ProofChallenge> {
        self.0.proofs.as_ref()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(crate) fn leeway(&self) -> Duration {
        self.0.leeway
    }
}

impl fmt::Debug for LayerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerContext").field("realm", &self.0.realm).finish_non_exhaustive()
    }
}

/// Marks a request that a layer let pass without credentials.
#[derive(Clone, Debug)]
pub(crate) struct Anonymous(pub(crate) LayerContext);

/// No layer in front of a handler provides what it takes: a mistake in the program.
///
/// For the log. The client gets a plain 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no `AuthLayer` is in front of this route that leaves `{0}`: add `.layer(AuthLayer::new(authority))`")]
pub struct MissingLayer(&'static str);

impl MissingLayer {
    /// Returns what a layer left of this type; `None` if it let the request pass without
    /// credentials.
    pub(crate) fn find_extension<T: Clone + Send + Sync + 'static>(extensions: &Extensions) -> Result<Option<T>, Self> {
        if let Some(left) = extensions.get::<T>() {
            return Ok(Some(left.clone()));
        }
        if extensions.get::<Anonymous>().is_some() {
            return Ok(None);
        }
        let missing = Self(type_name::<T>());
        tracing::error!(claims = missing.0, "no AuthLayer is in front of a route that takes claims");
        Err(missing)
    }
}

/// The URL of a protected resource's metadata (RFC 9728 §5.1).
///
/// ```
/// use auth_layer::rejection::ResourceMetadata;
///
/// let url = "https://api.example/.well-known/oauth-protected-resource";
/// assert!(ResourceMetadata::new(url).is_ok());
/// assert!(ResourceMetadata::new("/relative").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceMetadata(Arc<str>);

impl ResourceMetadata {
    /// Returns the URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not a URL for resource metadata.
///
/// It must be an absolute `https` URL, or `http` on a loopback host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the URL of resource metadata begins with https://, and has neither quotes nor spaces")]
pub struct InvalidResourceMetadata;

impl ResourceMetadata {
    /// Creates the parameter from a URL.
    ///
    /// # Errors
    ///
    /// [`InvalidResourceMetadata`] unless it is an absolute `https` URL, or `http` on a loopback
    /// host.
    pub fn new(url: &str) -> Result<Self, InvalidResourceMetadata> {
        let uri: http::Uri = url.parse().map_err(|_| InvalidResourceMetadata)?;
        let local = matches!(uri.host(), Some("127.0.0.1" | "[::1]" | "localhost"));
        let good = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => local,
            _ => false,
        };
        let plain = url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
        if good && plain { Ok(Self(url.into())) } else { Err(InvalidResourceMetadata) }
    }
}

/// The `realm` of a challenge (RFC 9110 §11.5): text that needs no escape in a quoted string.
///
/// ```
/// use auth_layer::rejection::Realm;
///
/// assert_eq!(Realm::default().as_str(), "api");
/// assert!(Realm::new("shop").is_ok() && Realm::new("the \"shop\"").is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Realm(Arc<str>);

/// The text is not a [`Realm`]: it has `"`, `\` or characters other than printable ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a realm is printable ASCII without quotes and backslashes")]
pub struct InvalidRealm;

impl Realm {
    /// Creates a realm with this name.
    pub fn new(name: &str) -> Result<Self, InvalidRealm> {
        let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        if name.bytes().all(plain) { Ok(Self(name.into())) } else { Err(InvalidRealm) }
    }

    /// Returns its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Realm {
    /// Returns the realm `api`.
    fn default() -> Self {
        Self("api".into())
    }
}

impl fmt::Debug for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
