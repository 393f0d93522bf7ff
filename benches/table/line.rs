//! One line of the table: what was measured, beside what, and whether it is good enough.

/// One line of the table, as text.
pub(crate) struct Line {
    figure: String,
    floor: String,
    ours: String,
    result: String,
    goal: String,
    met: bool,
}

/// What a figure counts, and how it is written.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    PerSecond,
    Micros,
    Millis,
    Mebibytes,
}

/// What a result must reach.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// A round of the floor's, and the round of ours beside it.
pub(crate) struct Pair {
    pub(crate) floor: f64,
    pub(crate) ours: f64,
}

impl Line {
    /// Ours as a multiple of the floor.
    pub(crate) fn ratio(figure: &str, unit: Unit, rounds: &[Pair], goal: Goal) -> Self {
        Self::compared(
            figure,
            unit,
            rounds,
            goal,
            |pair| pair.ours / pair.floor,
            |ratio| format!("{ratio:.2}"),
        )
    }

    /// What ours takes on top of the floor.
    pub(crate) fn surplus(figure: &str, unit: Unit, rounds: &[Pair], goal: Goal) -> Self {
        Self::compared(
            figure,
            unit,
            rounds,
            goal,
            |pair| pair.ours - pair.floor,
            |more| format!("+ {}", unit.write(more)),
        )
    }

    /// A figure that has no floor but zero.
    pub(crate) fn plain(figure: &str, unit: Unit, rounds: &[f64], goal: Goal) -> Self {
        let results = Spread::of(rounds.iter().copied());
        Self {
            figure: figure.to_owned(),
            floor: "–".to_owned(),
            ours: unit.write(results.median),
            result: results.write(|value| unit.write(value)),
            goal: goal.write(|value| unit.write(value)),
            met: goal.is_met_by(results.median),
        }
    }

    fn compared(
        figure: &str,
        unit: Unit,
        rounds: &[Pair],
        goal: Goal,
        compare: fn(&Pair) -> f64,
        write: impl Fn(f64) -> String,
    ) -> Self {
        let results = Spread::of(rounds.iter().map(compare));
        let median = |side: fn(&Pair) -> f64| unit.write(Spread::of(rounds.iter().map(side)).median);
        Self {
            figure: figure.to_owned(),
            floor: median(|pair| pair.floor),
            ours: median(|pair| pair.ours),
            result: results.write(&write),
            goal: goal.write(write),
            met: goal.is_met_by(results.median),
        }
    }

    fn cells(&self) -> [&str; 6] {
        let met = if self.met { "met" } else { "MISSED" };
        [&self.figure, &self.floor, &self.ours, &self.result, &self.goal, met]
    }
}

/// Prints `lines` as a Markdown table.
pub(crate) fn print(lines: &[Line]) {
    let head = ["figure", "floor", "ours", "result", "goal", ""];
    let rows: Vec<_> = std::iter::once(head).chain(lines.iter().map(Line::cells)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<_> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        println!("| {} |", cells.join(" | "));
        if number == 0 {
            let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
            println!("| {} |", rule.join(" | "));
        }
    }
}

/// The value at `share` (0–1) of `values` in order.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    values[(last as f64 * share).round() as usize]
}

struct Spread {
    lowest: f64,
    median: f64,
    highest: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        Self {
            lowest: quantile(&mut values, 0.0),
            median: quantile(&mut values, 0.5),
            highest: quantile(&mut values, 1.0),
        }
    }

    fn write(&self, write: impl Fn(f64) -> String) -> String {
        let (median, lowest, highest) = (write(self.median), write(self.lowest), write(self.highest));
        if lowest == highest {
            median
        } else {
            format!("{median} ({lowest} to {highest})")
        }
    }
}

impl Goal {
    fn write(self, write: impl Fn(f64) -> String) -> String {
        match self {
            Self::AtLeast(least) => format!("≥ {}", write(least)),
            Self::AtMost(most) => format!("≤ {}", write(most)),
        }
    }

    fn is_met_by(self, result: f64) -> bool {
        match self {
            Self::AtLeast(least) => result >= least,
            Self::AtMost(most) => result <= most,
        }
    }
}

impl Unit {
    fn write(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{value:.0}/s"),
            Self::Micros => format!("{value:.1} µs"),
            Self::Millis if value >= 100.0 => format!("{value:.0} ms"),
            Self::Millis => format!("{value:.2} ms"),
            Self::Mebibytes => format!("{value:.1} MiB"),
        }
    }
}
