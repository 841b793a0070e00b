//! Values that are each stored once and named by a number: the nodes, messages, histories and steps of which
//! states are made.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Index;

/// The name of a value in an [`Interned`] table: its position, as small as it can be, because millions of
/// states and steps consist of such numbers.
pub(crate) trait Number: Copy {
    fn new(position: usize) -> Self;

    fn position(self) -> usize;
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($bits:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub(crate) struct $name(pub(crate) $bits);

        impl Number for $name {
            fn new(position: usize) -> $name {
                $name(<$bits>::try_from(position).expect(concat!(
                    "a small cluster has few enough for each to have a ",
                    stringify!($name)
                )))
            }

            fn position(self) -> usize {
                self.0 as usize
            }
        }
    };
}

number! {
    /// Names a node with its disk, in one condition.
    NodeNo(u16)
}
number! {
    /// Names a message with its sender and its receiver.
    EnvelopeNo(u16)
}
number! {
    /// Names a history.
    HistoryNo(u16)
}
number! {
    /// Names a step of a node.
    StepNo(u32)
}

/// A table of values, each stored once and found by its key or by its number.
pub(crate) struct Interned<K, N, V> {
    values: Vec<V>,
    numbers: HashMap<K, N>,
}

impl<K, N, V> Default for Interned<K, N, V> {
    fn default() -> Interned<K, N, V> {
        Interned { values: Vec::new(), numbers: HashMap::new() }
    }
}

impl<K: Eq + Hash, N: Number, V> Interned<K, N, V> {
    /// The number of the value with this key, if it is there.
    pub(crate) fn find(&self, key: &K) -> Option<N> {
        self.numbers.get(key).copied()
    }

    /// The number of the value with this key, which is added if it is not there yet.
    pub(crate) fn intern(&mut self, key: K, value: impl FnOnce() -> V) -> N {
        *self.numbers.entry(key).or_insert_with(|| {
            self.values.push(value());
            N::new(self.values.len() - 1)
        })
    }

    /// The values, in the order of their numbers.
    #[cfg(test)]
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.values.iter()
    }

    /// The keys with their values, in no order.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.numbers.iter().map(|(key, number)| (key, &self[*number]))
    }
}

impl<K, N: Number, V> Index<N> for Interned<K, N, V> {
    type Output = V;

    fn index(&self, number: N) -> &V {
        &self.values[number.position()]
    }
}
