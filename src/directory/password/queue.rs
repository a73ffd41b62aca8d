//! A queue that serves clients in turn, so that one with many entries delays itself and not others.

use std::collections::{HashMap, VecDeque};

/// Entries of each client, and the clients in the order of their turns.
pub struct FairQueue<T> {
    clients: HashMap<u64, VecDeque<T>>,
    turns: VecDeque<u64>,
    len: usize,
}

impl<T> FairQueue<T> {
    /// Creates an empty queue.
    pub fn new() -> Self {
        Self { clients: HashMap::new(), turns: VecDeque::new(), len: 0 }
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Appends an entry of `client`.
    pub fn push(&mut self, client: u64, entry: T) {
        let entries = self.clients.entry(client).or_default();
        if entries.is_empty() {
            self.turns.push_back(client);
        }
        entries.push_back(entry);
        self.len += 1;
    }

    /// Removes the oldest entry of the client whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let client = self.turns.pop_front()?;
        let entries = self.clients.get_mut(&client)?;
        let entry = entries.pop_front();
        match entries.is_empty() {
            true => drop(self.clients.remove(&client)),
            false => self.turns.push_back(client),
        }
        self.len -= 1;
        entry
    }

    /// Returns how many entries would be served before a new one of `client`.
    pub fn ahead_of(&self, client: u64) -> usize {
        let own = self.clients.get(&client).map_or(0, VecDeque::len);
        self.clients.values().map(|entries| entries.len().min(own + 1)).sum()
    }

    /// Removes the newest entry of the client with the most, if `client` would have fewer even with
    /// one more.
    pub fn displace(&mut self, client: u64) -> Option<T> {
        let own = self.clients.get(&client).map_or(0, VecDeque::len);
        let entries = self.clients.values_mut().max_by_key(|entries| entries.len())?;
        if entries.len() <= own + 1 {
            return None;
        }
        self.len -= 1;
        entries.pop_back()
    }

    /// Removes the entries for which `keep` returns false.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        for entries in self.clients.values_mut() {
            entries.retain(&keep);
        }
        self.clients.retain(|_, entries| !entries.is_empty());
        self.turns.retain(|client| self.clients.contains_key(client));
        self.len = self.clients.values().map(VecDeque::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(entries: &[(u64, &'static str)]) -> FairQueue<&'static str> {
        let mut queue = FairQueue::new();
        entries.iter().for_each(|(client, entry)| queue.push(*client, *entry));
        queue
    }

    fn drain(mut queue: FairQueue<&'static str>) -> Vec<&'static str> {
        let all: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!((queue.len(), queue.clients.len(), queue.turns.len()), (0, 0, 0));
        all
    }

    #[test]
    fn clients_take_turns() {
        let queue = queue(&[(1, "a"), (1, "b"), (1, "c"), (2, "x"), (3, "y"), (2, "z")]);
        assert_eq!(queue.len(), 6);
        assert_eq!(drain(queue), ["a", "x", "y", "b", "z", "c"]);
    }

    #[test]
    fn a_client_with_many_entries_does_not_delay_others() {
        let queue = queue(&[(1, "a"), (1, "b"), (1, "c"), (2, "x")]);
        for (client, ahead) in [(1, 4), (2, 3), (3, 2)] {
            assert_eq!(queue.ahead_of(client), ahead, "{client}");
        }
    }

    #[test]
    fn the_newest_entry_of_the_largest_client_is_displaced_for_a_smaller_one() {
        let mut queue = queue(&[(1, "a"), (1, "b"), (1, "c"), (2, "x")]);
        assert_eq!(queue.displace(1), None);
        assert_eq!(queue.displace(2), Some("c"));
        assert_eq!(queue.displace(2), None);
        assert_eq!(queue.displace(3), Some("b"));
        assert_eq!(queue.displace(3), None);
        assert_eq!(drain(queue), ["a", "x"]);
    }

    #[test]
    fn retain_keeps_the_order() {
        let mut queue = queue(&[(1, "a"), (2, "gone"), (1, "gone"), (3, "y"), (1, "b")]);
        queue.retain(|entry| *entry != "gone");
        assert_eq!(queue.len(), 3);
        assert_eq!(drain(queue), ["a", "y", "b"]);
    }
}
