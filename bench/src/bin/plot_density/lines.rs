//! Figures over the number of pods, with a line for each mode.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::found::Series;
use crate::{Drawn, Picture};

/// One picture.
pub struct Lines {
    pub title: String,
    pub unit: &'static str,
    pub series: Vec<Series>,
}

/// The colours of the modes. They differ in lightness, too.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 0, 0),
    RGBColor(200, 60, 20),
    RGBColor(60, 130, 220),
    RGBColor(130, 130, 130),
    RGBColor(20, 140, 90),
    RGBColor(190, 140, 220),
];
/// The markers of the modes; the corners in pixels.
const MARKERS: [&[(i32, i32)]; 6] = [
    &[(-4, -4), (4, -4), (4, 4), (-4, 4)],
    &[(0, -6), (6, 5), (-6, 5)],
    &[(0, -6), (6, 0), (0, 6), (-6, 0)],
    &[(-6, -5), (6, -5), (0, 6)],
    &[(-5, -2), (-2, -5), (2, -5), (5, -2), (5, 2), (2, 5), (-2, 5), (-5, 2)],
    &[(-7, -2), (7, -2), (7, 2), (-7, 2)],
];
/// The largest number of markers on a line, so that the line stays visible.
const MARKERS_OF_A_LINE: usize = 12;

impl Lines {
    fn most(&self, of: impl Fn(&(f64, f64)) -> f64) -> f64 {
        let all = self.series.iter().flat_map(|series| &series.points);
        all.map(of).fold(1.0, f64::max)
    }
}

impl Picture for Lines {
    fn draw<B: DrawingBackend<ErrorType: 'static>>(&self, area: &DrawingArea<B, Shift>) -> Drawn {
        area.fill(&WHITE)?;
        let (pods, top) = (self.most(|p| p.0), self.most(|p| p.1));
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 18))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(70)
            .build_cartesian_2d(0.0..pods * 1.02, 0.0..top * 1.45)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc("containers running")
            .y_desc(self.unit)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| if top < 10.0 { format!("{y:.1}") } else { format!("{y:.0}") })
            .label_style(("sans-serif", 14))
            .draw()?;
        let arms = self.series.iter().zip(COLOURS.iter().zip(MARKERS).cycle());
        for (number, (Series { mode, points }, (colour, marker))) in arms.enumerate() {
            let line = colour.stroke_width(2);
            chart.draw_series(LineSeries::new(points.iter().copied(), line))?.label(mode).legend(
                move |at| {
                    let middle = marker.iter().map(|(x, y)| (x + 14, *y)).collect::<Vec<_>>();
                    EmptyElement::at(at)
                        + PathElement::new([(0, 0), (28, 0)], line)
                        + Polygon::new(middle, colour.filled())
                },
            );
            let every = points.len().div_ceil(MARKERS_OF_A_LINE);
            // The markers of two lines are at different places, because lines may lie on one another.
            let marked = points.iter().skip(number % every).step_by(every);
            chart.draw_series(
                marked.map(|at| EmptyElement::at(*at) + Polygon::new(marker, colour.filled())),
            )?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .legend_area_size(36)
            .border_style(BLACK)
            .background_style(WHITE)
            .label_font(("sans-serif", 14))
            .draw()?;
        area.present()?;
        Ok(())
    }
}
