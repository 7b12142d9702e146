//! What was measured, side by side: a line for each operation, a column for each backend.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Unit, quantile};

/// A median and how far the rounds are from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) q1: f64,
    pub(super) median: f64,
    pub(super) q3: f64,
    pub(super) rounds: usize,
}

impl Spread {
    /// None without figures.
    pub(super) fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        Some(Self {
            q1: quantile(&figures, 0.25)?,
            median: quantile(&figures, 0.5)?,
            q3: quantile(&figures, 0.75)?,
            rounds: figures.len(),
        })
    }

    pub(super) fn interquartile_range(self) -> f64 {
        self.q3 - self.q1
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "q1": self.q1, "q3": self.q3, "rounds": self.rounds })
    }
}

/// One case over another of the same rounds; rounds in which the other is nothing are left out.
pub(super) fn ratios(own: &[f64], other: &[f64]) -> Vec<f64> {
    own.iter().zip(other).filter(|(_, other)| **other > 0.0).map(|(own, other)| own / other).collect()
}

/// The rounds of every case of a set.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) set: String,
    pub(super) unit: Unit,
    pub(super) cases: Vec<(String, Vec<f64>)>,
}

impl Measured {
    fn rounds(&self, case: &str) -> &[f64] {
        let found = self.cases.iter().find(|(name, _)| name == case);
        &found.unwrap_or_else(|| panic!("`{}` has no case `{case}`", self.set)).1
    }
}

/// What one backend takes for one operation.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) column: String,
    pub(super) case: String,
    pub(super) spread: Spread,
    pub(super) beside: Vec<Beside>,
}

/// Another case of the same rounds that a cell is compared with.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    /// What the table calls it.
    pub(super) name: String,
    pub(super) case: String,
    pub(super) spread: Spread,
    /// None where the other is nothing.
    pub(super) ratio: Option<Spread>,
}

impl Cell {
    fn text(&self, unit: Unit) -> Vec<String> {
        let mut first = unit.figure(self.spread.median);
        if self.spread.rounds > 1 {
            let _ = write!(first, ", IQR {}", unit.figure(self.spread.interquartile_range()));
        } else if unit != Unit::Instructions {
            first.push_str(", once");
        }
        let beside = self.beside.iter().map(|beside| {
            let of = unit.figure(beside.spread.median);
            beside.ratio.map_or_else(
                || format!("{} {of}", beside.name),
                |ratio| {
                    let mut text = format!("{:.2}x {} of {of}", ratio.median, beside.name);
                    if ratio.rounds > 1 {
                        let _ = write!(text, ", IQR {:.2}", ratio.interquartile_range());
                    }
                    text
                },
            )
        });
        std::iter::once(first).chain(beside).collect()
    }

    fn json(&self) -> Value {
        let beside = self.beside.iter().map(|beside| {
            json!({
                "name": beside.name,
                "case": beside.case,
                "figure": beside.spread.json(),
                "ratio": beside.ratio.map(Spread::json),
            })
        });
        json!({
            "column": self.column,
            "case": self.case,
            "figure": self.spread.json(),
            "beside": beside.collect::<Vec<_>>(),
        })
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) unit: Unit,
    pub(super) cells: Vec<Cell>,
}

impl Operation {
    pub(super) fn cell(&self, column: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.column == column)
    }
}

/// The table of one program.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    pub(super) operations: Vec<Operation>,
}

impl Comparison {
    /// Adds a cell; an operation whose name is known gets one more.
    pub(super) fn add(
        &mut self,
        operation: &str,
        measured: &Measured,
        column: &str,
        case: &str,
        beside: &[(&str, &str)],
    ) {
        let rounds = measured.rounds(case);
        let spread = |rounds: &[f64]| {
            Spread::of(rounds.to_vec()).unwrap_or_else(|| panic!("`{}` was not measured", measured.set))
        };
        let beside = beside.iter().map(|(case, name)| {
            let other = measured.rounds(case);
            Beside {
                name: (*name).to_owned(),
                case: (*case).to_owned(),
                spread: spread(other),
                ratio: Spread::of(ratios(rounds, other)),
            }
        });
        let cell = Cell {
            column: column.to_owned(),
            case: case.to_owned(),
            spread: spread(rounds),
            beside: beside.collect(),
        };
        match self.operations.iter_mut().find(|known| known.name == operation) {
            Some(known) => known.cells.push(cell),
            None => self.operations.push(Operation {
                name: operation.to_owned(),
                unit: measured.unit,
                cells: vec![cell],
            }),
        }
    }

    /// The columns, in the order in which they were first named.
    pub(super) fn columns(&self) -> Vec<&str> {
        let mut columns = Vec::new();
        for cell in self.operations.iter().flat_map(|operation| &operation.cells) {
            if !columns.contains(&cell.column.as_str()) {
                columns.push(&cell.column);
            }
        }
        columns
    }

    /// For a terminal: each line of a cell below the other.
    pub(super) fn text(&self) -> String {
        let columns = self.columns();
        let rows: Vec<Vec<Vec<String>>> =
            self.operations.iter().map(|one| Self::cells(one, &columns)).collect();
        let widths: Vec<usize> = columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let lines = rows.iter().flat_map(|row| &row[index]);
                lines.map(|line| line.chars().count()).chain([column.len()]).max().unwrap_or_default()
            })
            .collect();
        let first = self.operations.iter().map(|operation| operation.name.len()).max().unwrap_or_default();
        let line = |name: &str, cells: &mut dyn Iterator<Item = &str>| {
            let mut line = format!("{name:<first$}");
            for (cell, width) in cells.zip(&widths) {
                let _ = write!(line, "  {cell:<width$}");
            }
            line.truncate(line.trim_end().len());
            line + "\n"
        };
        let mut text = line("", &mut columns.iter().copied());
        for (operation, row) in self.operations.iter().zip(&rows) {
            for depth in 0..row.iter().map(Vec::len).max().unwrap_or_default() {
                let name = if depth == 0 { operation.name.as_str() } else { "" };
                text += &line(name, &mut row.iter().map(|cell| cell.get(depth).map_or("", String::as_str)));
            }
        }
        text
    }

    /// For a page of the book.
    pub(super) fn markdown(&self) -> String {
        let columns = self.columns();
        let mut text = format!("| | {} |\n|{}\n", columns.join(" | "), " --- |".repeat(columns.len() + 1));
        for operation in &self.operations {
            let cells: Vec<_> =
                Self::cells(operation, &columns).iter().map(|cell| cell.join("<br>")).collect();
            let _ = writeln!(text, "| {} | {} |", operation.name, cells.join(" | "));
        }
        text
    }

    fn cells(operation: &Operation, columns: &[&str]) -> Vec<Vec<String>> {
        let cell = |column: &&str| operation.cell(column).map(|cell| cell.text(operation.unit));
        columns.iter().map(|column| cell(column).unwrap_or_default()).collect()
    }

    pub(super) fn json(&self) -> Value {
        let operations = self.operations.iter().map(|operation| {
            json!({
                "operation": operation.name,
                "unit": operation.unit.symbol(),
                "cells": operation.cells.iter().map(Cell::json).collect::<Vec<_>>(),
            })
        });
        operations.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison() -> Comparison {
        let measured = |set: &str, slow: f64| Measured {
            set: set.to_owned(),
            unit: Unit::Nanoseconds,
            cases: vec![
                ("by hand".to_owned(), vec![10.0, 20.0, 30.0, 40.0]),
                ("store".to_owned(), [10.0, 20.0, 30.0, 40.0].map(|time| time * slow).to_vec()),
            ],
        };
        let mut comparison = Comparison::default();
        for (column, slow) in [("redb", 1.5), ("sled", 2.0)] {
            comparison.add("get", &measured(column, slow), column, "store", &[("by hand", "raw")]);
        }
        comparison.add("open", &measured("sled", 3.0), "sled", "store", &[]);
        comparison
    }

    #[test]
    fn a_spread_is_the_middle_half() {
        let spread = Spread::of((1..=100).rev().map(f64::from).collect()).unwrap();
        assert_eq!((spread.q1, spread.median, spread.q3, spread.rounds), (25.0, 50.0, 75.0, 100));
        assert_eq!(spread.interquartile_range(), 50.0);
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn columns_stand_side_by_side() {
        let text = comparison().text();
        let expected = "      redb                     sled
get   30.0 ns, IQR 30.0 ns     40.0 ns, IQR 40.0 ns
      1.50x raw of 20.0 ns, IQR 0.00  2.00x raw of 20.0 ns, IQR 0.00
open                           60.0 ns, IQR 60.0 ns
";
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&text), words(expected));
        let starts: Vec<_> =
            text.lines().filter_map(|line| line.find("2.00x").or(line.find("60.0"))).collect();
        assert_eq!(starts[0], starts[1], "a column has one left edge:\n{text}");
    }

    #[test]
    fn a_page_has_an_empty_cell_where_nothing_was_measured() {
        assert_eq!(
            comparison().markdown().lines().collect::<Vec<_>>(),
            [
                "| | redb | sled |",
                "| --- | --- | --- |",
                "| get | 30.0 ns, IQR 30.0 ns<br>1.50x raw of 20.0 ns, IQR 0.00 \
                 | 40.0 ns, IQR 40.0 ns<br>2.00x raw of 20.0 ns, IQR 0.00 |",
                "| open |  | 60.0 ns, IQR 60.0 ns |",
            ]
        );
    }

    #[test]
    fn machines_read_the_quartiles() {
        let json = comparison().json();
        assert_eq!(json[0]["operation"], "get");
        assert_eq!(json[0]["unit"], "ns");
        assert_eq!(json[0]["cells"][1]["column"], "sled");
        assert_eq!(
            json[0]["cells"][1]["figure"],
            json!({ "median": 40.0, "q1": 20.0, "q3": 60.0, "rounds": 4 })
        );
        assert_eq!(json[0]["cells"][0]["beside"][0]["ratio"]["median"], 1.5);
    }

    #[test]
    #[should_panic(expected = "`redb` has no case `stores`")]
    fn a_case_that_is_not_there_is_noticed() {
        let measured = Measured { set: "redb".to_owned(), unit: Unit::Bytes, cases: Vec::new() };
        Comparison::default().add("get", &measured, "redb", "stores", &[]);
    }
}
