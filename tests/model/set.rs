//! Small sets of small numbers, so that a state hashes and copies quickly.

use std::fmt;

/// A set of numbers below eight.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Set(u8);

impl Set {
    /// The set without members.
    pub(crate) const EMPTY: Self = Self(0);

    /// Returns the set of this one member.
    pub(crate) const fn of(member: u8) -> Self {
        Self(1 << member)
    }

    /// Returns whether this is a member.
    pub(crate) const fn contains(self, member: u8) -> bool {
        self.0 & (1 << member) != 0
    }

    /// Returns whether it has no members.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the members of either set.
    #[must_use]
    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether the sets have a member in common.
    pub(crate) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns the members that the other set lacks.
    #[must_use]
    pub(crate) const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Adds a member.
    pub(crate) fn insert(&mut self, member: u8) {
        self.0 |= 1 << member;
    }

    /// Removes a member.
    pub(crate) fn remove(&mut self, member: u8) {
        self.0 &= !(1 << member);
    }

    /// Returns the members in ascending order.
    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..8).filter(move |&member| self.contains(member))
    }
}

impl FromIterator<u8> for Set {
    fn from_iter<I: IntoIterator<Item = u8>>(members: I) -> Self {
        members.into_iter().fold(Self::EMPTY, |set, member| set.union(Self::of(member)))
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
