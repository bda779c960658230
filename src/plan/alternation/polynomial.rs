//! Polynomials as sums of squares, in ceil(log2 degree) squares one after the other.

use super::factor::{self, Coefficients};
use super::graph::{Graph, Place};
use crate::error::{Error, Result};

/// A square is completed where that makes no intermediate value larger than this many times the spread of the
/// polynomial: 3 bits of precision for half the squares.
const COMPLETION_LIMIT: f64 = 8.0;

/// Coefficients smaller than this part of the largest are rounding.
const NEGLIGIBLE: f64 = 1e-13;

/// The values of the polynomial (constant first) of those at `x`.
///
/// # Errors
/// [`Error::Unsupported`] where the polynomial outgrows double precision over the range of x or cannot be factored in it.
pub(super) fn build(graph: &mut Graph<'_>, x: Place, coefficients: &[f64], layer: &str) -> Result<Place> {
    let unsupported = |reason: String| Error::Unsupported { operation: "compiling", reason };
    let range = graph.node(x).range;
    let scaled: Coefficients = coefficients.iter().enumerate().map(|(power, c)| c * range.powi(power as i32)).collect();
    if scaled.iter().any(|c| !c.is_finite()) {
        return Err(unsupported(format!(
            "layer {layer}: a polynomial of degree {} of values up to {range:e} outgrows double precision; scale the images or the weights down",
            coefficients.len() - 1
        )));
    }
    polynomial(graph, x, &scaled, 0).ok_or_else(|| {
        unsupported(format!(
            "layer {layer}: a polynomial of degree {} cannot be split into squares in double precision; use a smaller degree",
            coefficients.len() - 1
        ))
    })
}

/// The values of `p` at `x / R`, R the range of x.
///
/// It is one of `2^splits` polynomials of x that are wanted. They share squares where there are more of them than it takes
/// squares to give all polynomials of their degree: quadratics are sums of x^2 and x from one split on, quartics of four
/// squares from two on.
fn polynomial(graph: &mut Graph<'_>, x: Place, p: &[f64], splits: usize) -> Option<Place> {
    let p = trimmed(p);
    let range = graph.node(x).range;
    let size = factor::norm(p).max(f64::MIN_POSITIVE);
    if let [constant, slope] = *p {
        return Some(graph.sum(&[(x, slope / range)], constant, size));
    }
    let [constant, _, ..] = *p else {
        return Some(graph.sum(&[(x, 0.0)], p.first().copied().unwrap_or(0.0), size));
    };
    if p.len() > 3 && p.iter().skip(1).step_by(2).all(|&c| c == 0.0) {
        // Even: a polynomial of half the degree in y = 2 (x / R)^2 - 1, which lies in [-1, 1] too.
        let square = graph.square(x, 0);
        let y = graph.sum(&[(square, 2.0 / (range * range))], -1.0, 1.0);
        let halves: Vec<f64> = p.iter().step_by(2).copied().collect();
        let of_y = halves.iter().rev().fold(vec![0.0], |sum, &c| {
            let mut sum = factor::multiply(&sum, &[0.5, 0.5]);
            sum[0] += c;
            sum
        });
        return polynomial(graph, y, &of_y, 0);
    }
    if let Some((q, weight, rest)) = completed(p, range).filter(|_| p.len() > 3 || splits == 0) {
        let q = polynomial(graph, x, &q, splits)?;
        let square = graph.square(q, 0);
        return Some(graph.sum(&[(square, weight)], rest, size));
    }
    if let [_, slope, curvature] = *p {
        let square = graph.square(x, 0);
        return Some(graph.sum(&[(square, curvature / (range * range)), (x, slope / range)], constant, size));
    }
    if p.len() <= 5 && splits >= 2 {
        return Some(quartic(graph, x, p, size));
    }
    let split = factor::split(p)?;
    let [plus, minus] = &split.q;
    let (plus, minus) = (polynomial(graph, x, plus, splits + 1)?, polynomial(graph, x, minus, splits + 1)?);
    // Both at once: what is squared early would have to be carried.
    let level = graph.node(plus).level.max(graph.node(minus).level) + 1;
    let (plus, minus) = (graph.square(plus, level), graph.square(minus, level));
    Some(graph.sum(&[(plus, 1.0), (minus, -1.0)], split.constant, size))
}

/// The values of a polynomial of degree 3 or 4 at `t = x / R`, from squares that all of these share: with
/// `y = 2 t^2 - 1`, those of t, y and t + y, and t itself, which is carried with the help of the first.
fn quartic(graph: &mut Graph<'_>, x: Place, p: &[f64], size: f64) -> Place {
    let range = graph.node(x).range;
    let square = graph.square(x, 0);
    let y = graph.sum(&[(square, 2.0 / (range * range))], -1.0, 1.0);
    let both = graph.sum(&[(y, 1.0), (x, 1.0 / range)], 0.0, 2.0);
    let level = graph.node(y).level + 1;
    let [xx, yy, both] = [x, y, both].map(|of| graph.square(of, level));
    // t^4 = y^2 / 4 + t^2 - 1 / 4 and t^3 = ((t + y)^2 - t^2 - y^2 + 2 t) / 4.
    let (cubic, quartic) = (p[3] / 4.0, p.get(4).map_or(0.0, |c| c / 4.0));
    let of_tt = p[2] - cubic + 4.0 * quartic;
    let terms =
        [(both, cubic), (yy, quartic - cubic), (xx, of_tt / (range * range)), (x, (p[1] + 2.0 * cubic) / range)];
    graph.sum(&terms, p[0] - quartic, size)
}

/// Without the highest coefficients that are rounding; at least one is left.
fn trimmed(p: &[f64]) -> &[f64] {
    let largest = p.iter().fold(0.0, |largest: f64, c| largest.max(c.abs()));
    let degree = p.iter().rposition(|c| c.abs() > NEGLIGIBLE * largest).unwrap_or(0);
    &p[..=degree]
}

/// `(q, s, c)` with `p = s q^2 + c`, where there is one that loses little precision.
///
/// Every quadratic is such, and every polynomial that is symmetric to a point between its middle roots.
fn completed(p: &[f64], range: f64) -> Option<(Coefficients, f64, f64)> {
    let (degree, lead) = (p.len() - 1, *p.last()?);
    if degree % 2 == 1 {
        return None;
    }
    // The square root of p / lead, highest coefficient first.
    let half = degree / 2;
    let mut root = vec![0.0; half + 1];
    root[half] = 1.0;
    for power in (0..half).rev() {
        let known: f64 = (power + 1..half).map(|i| root[i] * root[half + power - i]).sum();
        root[power] = (p[half + power] / lead - known) / 2.0;
    }
    let square = factor::multiply(&root, &root);
    let rest = |power: usize| p[power] - lead * square[power];
    let largest = p.iter().fold(0.0, |largest: f64, c| largest.max(c.abs()));
    let (low, high) = factor::bounds(p);
    let exact = (1..half).all(|power| rest(power).abs() <= NEGLIGIBLE * largest);
    let small = lead.abs() * factor::norm(&root).powi(2) <= COMPLETION_LIMIT * (high - low) / 2.0;
    if !exact || !small {
        return None;
    }
    // A linear root is x itself and a constant; others have values up to 1.
    let scale = if half == 1 { range } else { 1.0 / factor::norm(&root) };
    root.iter_mut().for_each(|c| *c *= scale);
    Some((root, lead / (scale * scale), rest(0)))
}
