//! SQL texts for statements on many rows. They are composed from constants in a few sizes, so that
//! each connection prepares each text once.

use std::fmt::Write as _;
use std::sync::OnceLock;

/// Rows of one INSERT, in descending order. The widest table has 12 columns: 3,072 parameters of
/// the 32,766 that SQLite allows.
const INSERT_ROWS: [usize; 3] = [256, 16, 1];
/// Values in the list of one look-up, in ascending order. A shorter list repeats its last value.
const LOOKUP_VALUES: [usize; 3] = [16, 64, 512];

/// An INSERT of many rows into one table.
pub(super) struct Insert {
    table: &'static str,
    columns: &'static [&'static str],
    texts: [OnceLock<String>; INSERT_ROWS.len()],
}

impl Insert {
    pub const fn new(table: &'static str, columns: &'static [&'static str]) -> Self {
        Self { table, columns, texts: [const { OnceLock::new() }; INSERT_ROWS.len()] }
    }

    /// Divides `rows` into parts, each with the SQL text for its number of rows.
    pub fn parts<'r, T>(&'static self, rows: &'r [T]) -> impl Iterator<Item = (&'static str, &'r [T])> {
        let mut rest = rows;
        std::iter::from_fn(move || {
            let size = INSERT_ROWS.iter().position(|size| *size <= rest.len())?;
            let (part, others) = rest.split_at(INSERT_ROWS[size]);
            rest = others;
            let text = self.texts[size].get_or_init(|| self.text(INSERT_ROWS[size]));
            Some((text.as_str(), part))
        })
    }

    fn text(&self, rows: usize) -> String {
        let mut text = format!("INSERT INTO {} ({}) VALUES ", self.table, self.columns.join(", "));
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ", (" });
            let first = row * self.columns.len() + 1;
            parameters(&mut text, first..first + self.columns.len());
            text.push(')');
        }
        text
    }
}

/// A look-up of many values. Its text ends in `IN`; parameters before the list are numbered from 1.
pub(super) struct ListLookup {
    text: &'static str,
    first: usize,
    texts: [OnceLock<String>; LOOKUP_VALUES.len()],
}

impl ListLookup {
    pub const fn new(text: &'static str, parameters_before: usize) -> Self {
        let texts = [const { OnceLock::new() }; LOOKUP_VALUES.len()];
        Self { text, first: parameters_before + 1, texts }
    }

    /// Divides `values` into parts. Each part has the SQL text and as many values as the text has
    /// parameters for the list.
    pub fn parts<'v, T>(&'static self, values: &'v [T]) -> impl Iterator<Item = (&'static str, Vec<&'v T>)> {
        let [.., most] = LOOKUP_VALUES;
        values.chunks(most).filter_map(|part| {
            let size = LOOKUP_VALUES.iter().position(|size| part.len() <= *size)?;
            let text = self.texts[size].get_or_init(|| self.text(LOOKUP_VALUES[size]));
            let padding = std::iter::repeat_n(part.last()?, LOOKUP_VALUES[size] - part.len());
            Some((text.as_str(), part.iter().chain(padding).collect()))
        })
    }

    fn text(&self, values: usize) -> String {
        let mut text = format!("{} (", self.text);
        parameters(&mut text, self.first..self.first + values);
        text.push(')');
        text
    }
}

fn parameters(text: &mut String, numbers: std::ops::Range<usize>) {
    for (place, number) in numbers.enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        write!(text, "{comma}${number}").expect("invariant: a text can be appended to");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static INSERT: Insert = Insert::new("t", &["a", "b"]);
    static LOOKUP: ListLookup = ListLookup::new("SELECT a FROM t WHERE pool = $1 AND a IN", 1);

    #[test]
    fn rows_are_divided_into_statements_of_few_sizes() {
        let rows: Vec<usize> = (0..290).collect();
        let parts: Vec<_> = INSERT.parts(&rows).collect();
        let sizes: Vec<usize> = parts.iter().map(|(_, part)| part.len()).collect();
        assert_eq!(sizes, [256, 16, 16, 1, 1]);
        assert_eq!(parts.iter().flat_map(|(_, part)| part.iter().copied()).collect::<Vec<_>>(), rows);
        assert_eq!(parts[3].0, "INSERT INTO t (a, b) VALUES ($1, $2)");
        assert!(parts[1].0.starts_with("INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4), ("));
        assert!(parts[1].0.ends_with("($31, $32)"));
        assert_eq!(INSERT.parts::<usize>(&[]).count(), 0);
    }

    #[test]
    fn a_short_list_repeats_its_last_value() {
        let parts: Vec<_> = LOOKUP.parts(&[7, 8]).collect();
        assert_eq!(parts.len(), 1);
        assert!(
            parts[0]
                .0
                .ends_with("a IN ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)")
        );
        assert_eq!(parts[0].1.len(), 16);
        assert!(parts[0].1[1..].iter().all(|value| **value == 8));
        let values: Vec<usize> = (0..600).collect();
        assert_eq!(LOOKUP.parts(&values).map(|(_, part)| part.len()).collect::<Vec<_>>(), [512, 512]);
    }
}
