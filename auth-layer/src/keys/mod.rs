//! stub
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)] pub enum Algorithm { EdDsa, Hs256 }
impl Algorithm { pub const fn as_str(self) -> &'static str { "x" } pub(crate) const fn is_deterministic(self)->bool{true} }
#[derive(Debug, thiserror::Error)] #[error("x")] pub struct KeyError;
#[derive(Clone, Debug)] pub struct SigningKey;
impl SigningKey { pub fn generate()->Result<Self,KeyError>{Ok(Self)} pub fn kid(&self)->&str{""} pub fn algorithm(&self)->Algorithm{Algorithm::EdDsa}
 pub(crate) fn sign(&self,_:&[u8])->Result<Vec<u8>,KeyError>{Ok(vec![])} pub(crate) fn seal(&self,_:&[u8],_:&[u8])->Result<Vec<u8>,KeyError>{Ok(vec![])} pub(crate) fn unseal(&self,_:&[u8],_:&[u8])->Option<Vec<u8>>{None}}
#[derive(Clone, Debug)] pub struct VerifyingKey;
impl VerifyingKey { pub fn algorithm(&self)->Algorithm{Algorithm::EdDsa} pub(crate) fn verify(&self,_:&[u8],_:&[u8])->bool{true} }
#[derive(Clone, Debug)] pub struct Keyring(SigningKey, VerifyingKey);
impl Keyring { pub fn new(s:SigningKey)->Self{Self(s,VerifyingKey)} pub(crate) fn signing(&self)->&SigningKey{&self.0} pub(crate) fn signer(&self,_:&str)->Option<&SigningKey>{Some(&self.0)} pub(crate) fn verifier(&self,_:&str)->Option<&VerifyingKey>{Some(&self.1)} }
