//! The application's own claims.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::names::READ;
use crate::json::other_members;

/// A type of custom claims: anything that serde reads and writes as a JSON object.
///
/// Implemented for every such type.
///
/// ```
/// use auth_layer::CustomClaims;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Tenant {
///     tenant: u64,
/// }
///
/// fn is_custom_claims<T: CustomClaims>() {}
/// is_custom_claims::<Tenant>();
/// ```
pub trait CustomClaims: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> CustomClaims for C {}

/// Why custom claims cannot be put into a token.
///
/// ```
/// use auth_layer::{Grant, claims::CustomClaimsError};
/// use serde_json::json;
///
/// let refused = Grant::new("web").custom(&json!({ "exp": 0 }));
/// assert!(matches!(refused, Err(CustomClaimsError::Registered("exp"))));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CustomClaimsError {
    /// They are not a JSON object.
    #[error("custom claims must serialise to a JSON object")]
    NotAnObject,
    /// One of them has the name of a registered claim.
    #[error("a custom claim is named {0:?}, which is a registered claim")]
    Registered(&'static str),
    /// They cannot be written as JSON.
    #[error("custom claims cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

/// Writes custom claims as the text of a JSON object. The same claims give the same text.
pub(crate) fn custom_json(custom: &impl Serialize) -> Result<String, CustomClaimsError> {
    let Value::Object(members) = serde_json::to_value(custom).map_err(CustomClaimsError::Json)? else {
        return Err(CustomClaimsError::NotAnObject);
    };
    if let Some(name) = READ.iter().find(|name| members.contains_key(**name)) {
        return Err(CustomClaimsError::Registered(name));
    }
    serde_json::to_string(&members).map_err(CustomClaimsError::Json)
}

/// The custom claims of one token: the payload, each type that they were parsed as, and what else
/// was made of the token.
pub(crate) struct CustomPayload {
    /// The decoded payload, whose registered claims were read; `None` without custom claims.
    payload: Option<Box<[u8]>>,
    parsed: ParsedTypes,
    /// The memory of what is kept, in bytes, roughly.
    read_bytes: AtomicU32,
}

/// One kept value, and the place for the next. Values are only ever added, so readers need no lock.
#[derive(Default)]
struct ParsedTypes(OnceLock<Box<(Arc<dyn Any + Send + Sync>, ParsedTypes)>>);

impl CustomPayload {
    pub(crate) fn new(payload: Option<Vec<u8>>) -> Self {
        Self {
            payload: payload.map(Vec::into_boxed_slice),
            parsed: ParsedTypes::default(),
            read_bytes: AtomicU32::new(0),
        }
    }

    /// Returns all members of the payload except the registered claims.
    pub(crate) fn members(&self) -> Option<Map<String, Value>> {
        let Some(payload) = &self.payload else { return Some(Map::new()) };
        other_members(payload, &READ)
    }

    /// Returns the claims as a `T`; `None` if they do not read as one. Each type is parsed once.
    pub(crate) fn read<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.keep(|| {
            let value = serde_json::from_value(Value::Object(self.members()?)).ok()?;
            // What a type keeps on the heap is estimated by the length of its text.
            Some((value, self.text_bytes()))
        })
    }

    /// Returns the `T` that is kept. The first call makes it, and says what it takes on the heap,
    /// in bytes.
    pub(super) fn keep<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> Option<(T, usize)>) -> Option<Arc<T>> {
        let mut node = &self.parsed;
        let mut make = Some(make);
        let mut new: Option<(Arc<T>, usize)> = None;
        loop {
            let (held, next) = match (node.0.get(), &new) {
                (Some(taken), _) => &**taken,
                (None, None) => {
                    let (value, heap) = make.take()?()?;
                    new = Some((Arc::new(value), heap));
                    continue;
                }
                (None, Some((value, heap))) => {
                    let mut added = false;
                    let taken = node.0.get_or_init(|| {
                        added = true;
                        Box::new((Arc::clone(value) as Arc<dyn Any + Send + Sync>, ParsedTypes::default()))
                    });
                    if added {
                        let bytes = u32::try_from(NODE_BYTES + size_of::<T>() + heap).unwrap_or(u32::MAX);
                        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
                    }
                    &**taken
                }
            };
            if let Ok(found) = Arc::clone(held).downcast::<T>() {
                return Some(found);
            }
            node = next;
        }
    }

    /// Returns the memory of the payload, in bytes.
    pub(super) fn text_bytes(&self) -> usize {
        self.payload.as_ref().map_or(0, |payload| payload.len())
    }

    /// Returns the memory of what is kept, in bytes, roughly.
    pub(super) fn read_bytes(&self) -> u32 {
        self.read_bytes.load(Ordering::Relaxed)
    }
}

/// What a kept value takes besides the value: its box and the value's counters.
const NODE_BYTES: usize = size_of::<(Arc<dyn Any + Send + Sync>, ParsedTypes)>() + 2 * size_of::<usize>();

impl fmt::Debug for CustomPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomPayload").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    struct Tenant {
        tenant: u64,
    }

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    struct Roles {
        roles: Vec<String>,
    }

    fn custom() -> CustomPayload {
        CustomPayload::new(Some(br#"{"sub":"x","tenant":7,"roles":["admin"]}"#.to_vec()))
    }

    #[test]
    fn custom_claims_are_parsed_once_for_each_type() {
        let custom = custom();
        let tenant = custom.read::<Tenant>().unwrap();
        assert_eq!(*tenant, Tenant { tenant: 7 });
        let bytes = custom.read_bytes();
        assert_eq!(*custom.read::<Roles>().unwrap(), Roles { roles: vec!["admin".into()] });
        assert!(custom.read_bytes() > bytes, "the second type is counted");
        let bytes = custom.read_bytes();
        assert!(Arc::ptr_eq(&tenant, &custom.read::<Tenant>().unwrap()), "the first type is found again");
        assert_eq!(custom.read_bytes(), bytes);
    }

    #[test]
    fn custom_claims_that_are_no_such_type_are_none_and_leave_the_others() {
        #[derive(Deserialize)]
        struct Other {
            #[expect(dead_code, reason = "it is never there")]
            other: u64,
        }
        let custom = custom();
        assert!(custom.read::<Other>().is_none());
        assert!(custom.read::<Tenant>().is_some());
        assert!(CustomPayload::new(None).read::<Tenant>().is_none());
    }

    #[test]
    fn custom_claims_of_many_types_at_once_are_each_parsed_into_one_value() {
        let custom = custom();
        std::thread::scope(|scope| {
            let reads: Vec<_> = (0..8)
                .map(|number| {
                    let custom = &custom;
                    scope.spawn(move || {
                        if number % 2 == 0 {
                            drop(custom.read::<Roles>());
                        }
                        custom.read::<Tenant>().unwrap()
                    })
                })
                .collect();
            let read: Vec<_> = reads.into_iter().map(|read| read.join().unwrap()).collect();
            assert!(read.iter().all(|tenant| Arc::ptr_eq(tenant, &read[0])));
        });
    }

    #[test]
    fn custom_members_are_all_but_the_registered_claims() {
        let members = custom().members().unwrap();
        let names: BTreeSet<&str> = members.keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(["roles", "tenant"]));
    }
}
