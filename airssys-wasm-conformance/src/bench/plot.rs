//! A comparison as pictures: bars for each operation, a colour for each backend.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Unit;
use super::comparison::{Cell, Comparison, Operation};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const WIDTH: u32 = 960;
const BAR: u32 = 15;
/// Between the bars of two operations.
const GAP: u32 = 10;
const TITLE: u32 = 34;
const LEGEND: u32 = 26;
const AXIS: u32 = 34;
const NAMES: u32 = 290;
const RIGHT: u32 = 24;

/// Told apart by most eyes, on light and on dark ground (after Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x8A, 0x8F, 0x98),
    RGBColor(0x3B, 0x82, 0xC4),
    RGBColor(0xE0, 0x7B, 0x39),
    RGBColor(0x3A, 0x9D, 0x6E),
    RGBColor(0x9A, 0x6C, 0xC4),
    RGBColor(0xC4, 0x53, 0x6B),
];
const GROUND: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
const INK: RGBColor = RGBColor(0x24, 0x29, 0x2F);
const GRID: RGBColor = RGBColor(0xD0, 0xD7, 0xDE);

/// The colours of ground, ink and grid follow what the reader has asked the browser for.
const STYLE: &str = r##"
<style>
@media (prefers-color-scheme: dark) {
  [fill="#FFFFFF"] { fill: #0D1117 }
  [fill="#24292F"] { fill: #E6EDF3 }
  [stroke="#24292F"] { stroke: #E6EDF3 }
  [stroke="#D0D7DE"] { stroke: #30363D }
}
</style>
"##;

/// One bar.
struct Bar {
    figure: f64,
    /// The first and the third quartile.
    spread: (f64, f64),
    /// The libraries without the product, in the same unit.
    marks: Vec<f64>,
}

/// What a picture shows of a cell.
struct View {
    end: &'static str,
    title: String,
    logarithmic: bool,
    /// The text of a figure.
    text: fn(f64) -> String,
    bar: fn(&Cell) -> Option<Bar>,
    /// What the marks are, in the legend.
    mark: Option<&'static str>,
    shows: fn(Unit) -> bool,
}

impl View {
    fn all(name: &str) -> [Self; 4] {
        fn figure(cell: &Cell) -> Option<Bar> {
            let spread = (cell.spread.q1, cell.spread.q3);
            let marks = cell.beside.iter().map(|beside| beside.spread.median).collect();
            Some(Bar { figure: cell.spread.median, spread, marks })
        }
        fn ratio(cell: &Cell) -> Option<Bar> {
            let ratio = cell.beside.first()?.ratio?;
            Some(Bar { figure: ratio.median, spread: (ratio.q1, ratio.q3), marks: Vec::new() })
        }
        let mark = Some("what it is compared with, in the same rounds");
        [
            Self {
                end: "time",
                title: format!(
                    "{name}: time, median and quartiles; the axis is logarithmic, shorter is better"
                ),
                logarithmic: true,
                text: |figure| Unit::Nanoseconds.figure(figure),
                bar: figure,
                mark,
                shows: |unit| unit == Unit::Nanoseconds,
            },
            Self {
                end: "rate",
                title: format!("{name}: in a second, median and quartiles; longer is better"),
                logarithmic: false,
                text: |figure| Unit::PerSecond.figure(figure),
                bar: figure,
                mark,
                shows: |unit| unit == Unit::PerSecond,
            },
            Self {
                end: "bytes",
                title: format!("{name}: bytes, median and quartiles; shorter is better"),
                logarithmic: false,
                text: |figure| Unit::Bytes.figure(figure),
                bar: figure,
                mark,
                shows: |unit| unit == Unit::Bytes,
            },
            Self {
                end: "ratio",
                title: format!("{name}: ratio to the raw library, median and quartiles; shorter is better"),
                logarithmic: false,
                text: |ratio| format!("{ratio:.2}x"),
                bar: ratio,
                mark: None,
                shows: |unit| unit != Unit::PerSecond,
            },
        ]
    }
}

/// The pictures of a comparison: the end of the name of each, and its text as SVG.
pub(super) fn pictures(name: &str, comparison: &Comparison) -> Result<Vec<(&'static str, String)>> {
    let columns = comparison.columns();
    let mut pictures = Vec::new();
    for view in View::all(name) {
        let groups: Vec<Group<'_>> = comparison
            .operations
            .iter()
            .filter(|operation| (view.shows)(operation.unit))
            .map(|operation| Group::new(operation, &columns, view.bar))
            .filter(|group| !group.bars.is_empty())
            .collect();
        if !groups.is_empty() {
            pictures.push((view.end, picture(&view, &columns, &groups)?));
        }
    }
    Ok(pictures)
}

/// The bars of an operation, each with the number of its column.
struct Group<'c> {
    name: &'c str,
    bars: Vec<(usize, Bar)>,
}

impl<'c> Group<'c> {
    fn new(operation: &'c Operation, columns: &[&str], bar: fn(&Cell) -> Option<Bar>) -> Self {
        let bars = columns.iter().enumerate().filter_map(|(number, column)| {
            let bar = operation.cell(column).and_then(bar)?;
            Some((number, bar))
        });
        Self { name: &operation.name, bars: bars.collect() }
    }

    fn height(&self) -> u32 {
        BAR * u32::try_from(self.bars.len()).unwrap_or(u32::MAX) + GAP
    }
}

fn picture(view: &View, columns: &[&str], groups: &[Group<'_>]) -> Result<String> {
    let height = TITLE + LEGEND + AXIS + groups.iter().map(Group::height).sum::<u32>();
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&GROUND)?;
        root.draw(&Text::new(view.title.as_str(), (12, 10), text(19)))?;
        let used: Vec<usize> = (0..columns.len())
            .filter(|number| groups.iter().any(|group| group.bars.iter().any(|(column, _)| column == number)))
            .collect();
        legend(&root, view, columns, &used)?;
        let (_, below) = root.split_vertically(TITLE + LEGEND);
        bars(&below, view, groups)?;
        root.present()?;
    }
    let head = svg.find('>').map_or(0, |end| end + 1);
    svg.insert_str(head, STYLE);
    Ok(svg)
}

fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Top))
}

/// About as wide as the letters are.
fn width(text: &str) -> i32 {
    i32::try_from(text.chars().count()).unwrap_or(i32::MAX).saturating_mul(7)
}

fn legend(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    view: &View,
    columns: &[&str],
    used: &[usize],
) -> Result<()> {
    let (mut left, top) = (12, TITLE as i32);
    for number in used {
        let colour = COLOURS[number % COLOURS.len()];
        root.draw(&Rectangle::new([(left, top), (left + 12, top + 12)], colour.filled()))?;
        root.draw(&Text::new(columns[*number], (left + 18, top), text(15)))?;
        left += 18 + width(columns[*number]) + 18;
    }
    if let Some(mark) = view.mark {
        root.draw(&PathElement::new([(left + 6, top - 2), (left + 6, top + 14)], INK.stroke_width(2)))?;
        root.draw(&Text::new(mark, (left + 18, top), text(15)))?;
    }
    Ok(())
}

/// From a figure to where it is, and the figures at which the grid has a line.
struct Scale {
    logarithmic: bool,
    least: f64,
    most: f64,
}

impl Scale {
    /// On the right of the longest bar is room for its figure.
    fn new(view: &View, groups: &[Group<'_>]) -> Self {
        let bars = groups.iter().flat_map(|group| &group.bars);
        let figures = bars.flat_map(|(_, bar)| bar.marks.iter().chain([&bar.figure, &bar.spread.1])).copied();
        let figures: Vec<_> = figures.filter(|figure| *figure > 0.0).collect();
        let most = figures.iter().copied().reduce(f64::max).unwrap_or(1.0);
        let least = figures.iter().copied().reduce(f64::min).unwrap_or(most);
        let (least, most) = if view.logarithmic { (least / 2.0, most * 6.0) } else { (0.0, most * 1.14) };
        Self { logarithmic: view.logarithmic, least, most }
    }

    /// The part of the width that lies on the left of it.
    fn part(&self, figure: f64) -> f64 {
        let part = if self.logarithmic {
            (figure.max(self.least) / self.least).ln() / (self.most / self.least).ln()
        } else {
            figure / self.most
        };
        part.clamp(0.0, 1.0)
    }

    /// Powers of ten, or about six even steps.
    fn grid(&self) -> Vec<f64> {
        if self.logarithmic {
            let (first, last) = (self.least.log10().ceil() as i32, self.most.log10().floor() as i32);
            return (first..=last).map(|power| 10_f64.powi(power)).collect();
        }
        let rough = self.most / 6.0;
        let power = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
        let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        (0_u32..).map(|number| f64::from(number) * step).take_while(|figure| *figure <= self.most).collect()
    }
}

fn bars(area: &DrawingArea<SVGBackend<'_>, Shift>, view: &View, groups: &[Group<'_>]) -> Result<()> {
    let scale = Scale::new(view, groups);
    let (left, right) = (NAMES as i32, (WIDTH - RIGHT) as i32);
    let at = |figure: f64| left + (f64::from(right - left) * scale.part(figure)).round() as i32;
    let bottom = groups.iter().map(Group::height).sum::<u32>() as i32;
    for figure in scale.grid() {
        let x = at(figure);
        area.draw(&PathElement::new([(x, 0), (x, bottom)], GRID.stroke_width(1)))?;
        let label = text(14).pos(Pos::new(HPos::Center, VPos::Top));
        area.draw(&Text::new((view.text)(figure), (x, bottom + 6), label))?;
    }
    let mut top = 0;
    for group in groups {
        let middle = top + group.height() as i32 / 2;
        let name = text(15).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw(&Text::new(group.name, (left - 8, middle), name))?;
        top += GAP as i32 / 2;
        for (column, bar) in &group.bars {
            let (upper, lower) = (top + 1, top + BAR as i32 - 1);
            let colour = COLOURS[column % COLOURS.len()];
            area.draw(&Rectangle::new([(left, upper), (at(bar.figure), lower)], colour.filled()))?;
            let (first, third, middle) = (at(bar.spread.0), at(bar.spread.1), (upper + lower) / 2);
            area.draw(&PathElement::new([(first, middle), (third, middle)], INK.stroke_width(1)))?;
            for mark in &bar.marks {
                area.draw(&PathElement::new(
                    [(at(*mark), upper - 1), (at(*mark), lower + 1)],
                    INK.stroke_width(2),
                ))?;
            }
            let end = bar.marks.iter().map(|mark| at(*mark)).chain([at(bar.figure), third]).max();
            let label = text(13).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new((view.text)(bar.figure), (end.unwrap_or(left) + 6, middle), label))?;
            top += BAR as i32;
        }
        top += GAP as i32 / 2;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::comparison::Measured;
    use super::*;

    fn pictures_of(unit: Unit) -> Vec<(&'static str, String)> {
        let mut comparison = Comparison::default();
        for column in ["redb", "sled & co"] {
            let cases = vec![("raw".to_owned(), vec![90.0, 100.0]), ("store".to_owned(), vec![1e4, 2e4])];
            let measured = Measured { set: column.to_owned(), unit, cases };
            comparison.add("get", &measured, column, "store", &[("raw", "raw")]);
        }
        pictures("stores", &comparison).unwrap()
    }

    #[test]
    fn there_is_a_picture_for_each_unit_that_was_measured() {
        let ends = |unit| pictures_of(unit).into_iter().map(|(end, _)| end).collect::<Vec<_>>();
        assert_eq!(ends(Unit::Nanoseconds), ["time", "ratio"]);
        assert_eq!(ends(Unit::PerSecond), ["rate"]);
        assert_eq!(ends(Unit::Bytes), ["bytes", "ratio"]);
    }

    #[test]
    fn a_picture_names_its_lines_columns_and_figures() {
        let (_, svg) = pictures_of(Unit::Nanoseconds).remove(0);
        for text in ["get", "redb", "sled &amp; co", "10.0 us"] {
            assert!(svg.lines().any(|line| line.trim() == text), "{text} is missing: {svg}");
        }
        assert_eq!(svg.matches("<style>").count(), 1);
    }

    #[test]
    fn a_bar_ten_times_as_long_is_a_decade_further_on_a_logarithmic_axis() {
        let scale = Scale { logarithmic: true, least: 1.0, most: 1e4 };
        assert_eq!([1.0, 10.0, 1e4, 1e9].map(|figure| scale.part(figure)), [0.0, 0.25, 1.0, 1.0]);
        assert_eq!(scale.grid(), [1.0, 10.0, 100.0, 1e3, 1e4]);
        let scale = Scale { logarithmic: false, least: 0.0, most: 3.3 };
        assert_eq!(scale.grid(), [0.0, 1.0, 2.0, 3.0]);
    }
}
