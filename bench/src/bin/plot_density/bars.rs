//! The time of each mode, creates and deletes one upon the other.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::found::Total;
use crate::{Drawn, Picture};

/// The picture.
pub struct Bars {
    pub title: String,
    pub unit: &'static str,
    pub totals: Vec<Total>,
}

const CREATE: RGBColor = RGBColor(70, 70, 70);
const DELETE: RGBColor = RGBColor(200, 200, 200);

impl Picture for Bars {
    fn draw<B: DrawingBackend<ErrorType: 'static>>(&self, area: &DrawingArea<B, Shift>) -> Drawn {
        area.fill(&WHITE)?;
        let most = self.totals.iter().map(|t| t.create + t.delete).fold(1.0, f64::max);
        let modes = self.totals.len();
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 18))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(70)
            .build_cartesian_2d(-0.5..modes as f64 - 0.5, 0.0..most * 1.3)?;
        let name = |at: &f64| {
            // Labels are at the middles of the bars only.
            let on_a_bar = (at - at.round()).abs() < 1e-6;
            let total = on_a_bar.then(|| self.totals.get(at.round() as usize)).flatten();
            total.map_or(String::new(), |total| total.mode.clone())
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_labels(2 * modes + 1)
            .x_label_formatter(&name)
            .y_desc(self.unit)
            .label_style(("sans-serif", 14))
            .draw()?;
        for (colour, word, part) in [
            (CREATE, "create", (|t| (0.0, t.create)) as fn(&Total) -> (f64, f64)),
            (DELETE, "delete", |t| (t.create, t.create + t.delete)),
        ] {
            let bar = |(number, total): (usize, &Total)| {
                let (at, (from, to)) = (number as f64, part(total));
                Rectangle::new([(at - 0.3, from), (at + 0.3, to)], colour.filled())
            };
            let bars = self.totals.iter().enumerate().map(bar);
            chart.draw_series(bars)?.label(word).legend(move |(x, y)| {
                Rectangle::new([(x, y - 6), (x + 24, y + 6)], colour.filled())
            });
        }
        chart.draw_series(self.totals.iter().enumerate().map(|(number, total)| {
            let sum = total.create + total.delete;
            Text::new(
                format!("{sum:.1}"),
                (number as f64 - 0.1, sum + most * 0.05),
                ("sans-serif", 14),
            )
        }))?;
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .legend_area_size(32)
            .border_style(BLACK)
            .background_style(WHITE)
            .label_font(("sans-serif", 14))
            .draw()?;
        area.present()?;
        Ok(())
    }
}
