//! Reads parameters (RFC 6749 §3.1, §3.2 and Appendix B).

use std::borrow::Cow;

use form_urlencoded::parse;
use percent_encoding::percent_decode_str;

/// How many `resource` parameters a request may have (RFC 8707 §2).
const MOST_RESOURCES: usize = 16;

/// The known parameters of one request.
///
/// It has no `Debug`: parameters can be secrets.
pub(crate) struct Form<'t> {
    slots: Vec<Slot<'t>>,
    /// At most one more than [`MOST_RESOURCES`].
    resources: Vec<Cow<'t, str>>,
}

/// One known parameter.
struct Slot<'t> {
    name: &'static str,
    value: Option<Cow<'t, str>>,
    is_repeated: bool,
}

/// Why parameters cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormError {
    /// The decoded text is not UTF-8.
    Encoding,
    /// This parameter comes more than once.
    Repeated(&'static str),
    /// There are more than [`MOST_RESOURCES`] resources.
    TooManyResources,
}

impl<'t> Form<'t> {
    /// Reads the parameters `names` and `resource`. Others are ignored.
    ///
    /// The work is linear in the length of `text`.
    pub(crate) fn read(text: &'t [u8], names: &[&'static str]) -> Result<Self, FormError> {
        // `parse` replaces what is not UTF-8, and two different values could become equal.
        //= RFC 6749 §B
        let text = str::from_utf8(text).map_err(|_| FormError::Encoding)?;
        if text.contains('%') && percent_decode_str(text).decode_utf8().is_err() {
            return Err(FormError::Encoding);
        }
        let slots = names.iter().map(|&name| Slot { name, value: None, is_repeated: false }).collect();
        let mut form = Self { slots, resources: Vec::new() };
        for (name, value) in pairs(text) {
            //= RFC 8707 §2
            if name == "resource" {
                if !value.is_empty() && form.resources.len() <= MOST_RESOURCES {
                    form.resources.push(value);
                }
                continue;
            }
            //= RFC 6749 §3.1
            let Some(slot) = form.slots.iter_mut().find(|slot| slot.name == name) else { continue };
            // An empty value counts here: two parsers could pick two different values.
            slot.is_repeated = slot.value.is_some();
            slot.value = Some(value);
        }
        Ok(form)
    }

    /// Removes a parameter's value. Returns `None` if it is missing or empty.
    pub(crate) fn take(&mut self, name: &'static str) -> Result<Option<String>, FormError> {
        let slot = self.slots.iter_mut().find(|slot| slot.name == name);
        debug_assert!(slot.is_some(), "`{name}` is not among the names that were read");
        let Some(slot) = slot else { return Ok(None) };
        //= RFC 6749 §3.2
        if slot.is_repeated {
            return Err(FormError::Repeated(name));
        }
        //= RFC 6749 §3.1
        Ok(slot.value.take().filter(|value| !value.is_empty()).map(Cow::into_owned))
    }

    /// Fails if a known parameter comes more than once.
    pub(super) fn each_once(&self) -> Result<(), FormError> {
        match self.slots.iter().find(|slot| slot.is_repeated) {
            Some(slot) => Err(FormError::Repeated(slot.name)),
            None => Ok(()),
        }
    }

    /// Removes the resources. Empty ones were dropped.
    pub(super) fn take_resources(&mut self) -> Result<Vec<String>, FormError> {
        if self.resources.len() > MOST_RESOURCES {
            return Err(FormError::TooManyResources);
        }
        Ok(self.resources.drain(..).map(Cow::into_owned).collect())
    }
}

/// Splits a form as [`parse`] does. What is not encoded, such as a token, is not decoded byte by
/// byte.
fn pairs(text: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    // One search each: these are done by words, one for both by bytes.
    let is_encoded = |text: &str| text.contains('%') || text.contains('+');
    let any_encoded = is_encoded(text);
    pairs.filter_map(move |pair| {
        if any_encoded && is_encoded(pair) {
            return parse(pair.as_bytes()).next();
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((name.into(), value.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &str, name: &'static str) -> Result<Option<String>, FormError> {
        Form::read(text.as_bytes(), &["a", "b"])?.take(name)
    }

    #[test]
    fn oauth_form_values_are_decoded() {
        for (text, value) in [
            ("a=x", "x"),
            ("b=1&a=x+y%2B%26%3D", "x y+&="),
            ("%61=x", "x"),
            ("a=x=y", "x=y"),
            ("&&a=x&", "x"),
            ("a=%C3%A9", "é"),
            ("a=%zz%", "%zz%"),
            ("c=1&c=2&a=x", "x"),
            ("A=1&a=x", "x"),
            ("a=x;b=y", "x;b=y"),
            ("a=%00", "\0"),
        ] {
            assert_eq!(take(text, "a"), Ok(Some(value.to_owned())), "{text}");
        }
    }

    #[test]
    fn oauth_form_is_split_as_by_form_urlencoded() {
        let parts = ["a", "=", "&", "+", "%61", "%", "%3D", "é", "b=c", ""];
        for number in 0..parts.len().pow(4) {
            let text: String = (0..4).map(|at| parts[number / parts.len().pow(at) % parts.len()]).collect();
            let expected: Vec<_> = parse(text.as_bytes()).collect();
            assert_eq!(pairs(&text).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn oauth_form_value_that_is_empty_is_not_sent() {
        for text in ["", "a", "a=", "b=1", "&", "=", "=x"] {
            assert_eq!(take(text, "a"), Ok(None), "{text}");
        }
    }

    #[test]
    fn oauth_form_parameter_twice_is_refused() {
        for text in ["a=x&a=x", "a=x&a=", "a=&a=x", "a&a", "a=x&b=1&a=y", "a=x&%61=y", "a=x&a=y&a=z"] {
            assert_eq!(take(text, "a"), Err(FormError::Repeated("a")), "{text}");
            let form = Form::read(text.as_bytes(), &["a", "b"]).ok().unwrap();
            assert_eq!(form.each_once(), Err(FormError::Repeated("a")), "{text}");
        }
        assert_eq!(take("a=x&a=x&b=1", "b"), Ok(Some("1".to_owned())));
    }

    #[test]
    fn oauth_form_that_is_not_utf8_is_refused() {
        for text in [&b"a=%FF"[..], b"a=\xff", b"%FF=a", b"a=%C3&%A9=b", b"a=%C3", b"a=%ED%A0%80"] {
            assert_eq!(Form::read(text, &["a"]).err(), Some(FormError::Encoding), "{text:?}");
        }
    }

    #[test]
    fn oauth_form_resource_may_be_repeated_a_few_times() {
        let resources = |text: &str| Form::read(text.as_bytes(), &[]).ok().unwrap().take_resources();
        assert_eq!(resources("resource=a&resource=&resource=b"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(resources(&"resource=a&".repeat(MOST_RESOURCES)).unwrap().len(), MOST_RESOURCES);
        for many in [MOST_RESOURCES + 1, 10_000] {
            assert_eq!(resources(&"resource=a&".repeat(many)), Err(FormError::TooManyResources));
        }
    }
}
