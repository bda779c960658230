//! Polynomials as a product of two of half the degree and a constant, all of them small on [-1, 1].

/// Coefficients, constant first.
pub(super) type Coefficients = Vec<f64>;

/// `q[0]^2 - q[1]^2 + constant`.
pub(super) struct Split {
    pub q: [Coefficients; 2],
    pub constant: f64,
    /// the sum of the largest squares on [-1, 1]
    size: f64,
}

/// A complex number.
type Complex = (f64, f64);

/// Points at which norms on [-1, 1] are taken.
const SAMPLES: usize = 64;

/// What rounding may change a coefficient by, relative to the largest: well below any ciphertext's precision.
const TOLERANCE: f64 = 1e-9;

/// Constants tried, as multiples of half the spread of the polynomial around its middle.
const CONSTANTS: [f64; 11] = [0.0, 0.5, -0.5, 1.0, -1.0, 1.25, -1.25, 1.5, -1.5, 2.0, -2.0];

/// Two polynomials of at most half the degree, rounded up to a power of two, whose squares differ by `p` less a constant.
///
/// For every constant c, `p - c` has real factors of degree at most 2, so it is a product `u v` of two real polynomials
/// of any such degrees but those that pairs of complex roots forbid, and `u v = ((u + v) / 2)^2 - ((u - v) / 2)^2`. With
/// u and v scaled to equal norms on [-1, 1] neither square exceeds `|u| |v|`, and that is at most a constant times
/// `|p - c|`, whatever p, c and the factors are: 14 for cubics, 57 for quartics (Kneser 1934; Borwein, Exact inequalities
/// for the norms of factors of polynomials, 1994). Of the constants and factors tried here the best is taken, which is far
/// below: the tests say how far.
///
/// Nothing where the roots cannot be found in double precision.
pub(super) fn split(p: &[f64]) -> Option<Split> {
    let half = (p.len() - 1).next_power_of_two() / 2;
    let (low, high) = bounds(p);
    let mut best: Option<Split> = None;
    for multiple in CONSTANTS {
        let constant = (low + high) / 2.0 + multiple * (high - low) / 2.0;
        let mut rest = p.to_vec();
        rest[0] -= constant;
        let factors = factors(&roots(&rest));
        for chosen in subsets(factors.len()) {
            let (u, v) = (product(&factors, |i| chosen >> i & 1 == 1), product(&factors, |i| chosen >> i & 1 == 0));
            if u.len() > half + 1 || v.len() > half + 1 {
                continue;
            }
            let Some(q) = difference(&u, &v, &rest) else { continue };
            let size = q.iter().map(|q| norm(q).powi(2)).sum();
            if best.as_ref().is_none_or(|best| size < 0.999 * best.size) {
                best = Some(Split { q, constant, size });
            }
        }
    }
    best
}

/// `(u + v) / 2` and `(u - v) / 2` with u and v scaled to equal norms and to the product `p`, where that is their product.
fn difference(u: &[f64], v: &[f64], p: &[f64]) -> Option<[Coefficients; 2]> {
    let product = multiply(u, v);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let factor = dot(&product, p) / dot(&product, &product);
    let largest = p.iter().fold(0.0, |largest: f64, c| largest.max(c.abs()));
    let close =
        |(i, c): (usize, &f64)| (c - factor * product.get(i).copied().unwrap_or(0.0)).abs() < TOLERANCE * largest;
    if !p.iter().enumerate().all(close) {
        return None;
    }
    let scale = (factor.abs() * norm(v) / norm(u)).sqrt();
    let (of_u, of_v) = (scale, factor / scale);
    let combine = |sign: f64| {
        let term = |i: usize| of_u * u.get(i).copied().unwrap_or(0.0) + sign * of_v * v.get(i).copied().unwrap_or(0.0);
        (0..u.len().max(v.len())).map(|i| term(i) / 2.0).collect()
    };
    Some([combine(1.0), combine(-1.0)])
}

/// The smallest and the largest value on [-1, 1].
pub(super) fn bounds(p: &[f64]) -> (f64, f64) {
    let values = (0..=SAMPLES).map(|i| evaluate(p, 2.0 * i as f64 / SAMPLES as f64 - 1.0));
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// The largest |value| on [-1, 1].
pub(super) fn norm(p: &[f64]) -> f64 {
    let (low, high) = bounds(p);
    high.max(-low)
}

pub(super) fn evaluate(p: &[f64], x: f64) -> f64 {
    p.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

pub(super) fn multiply(p: &[f64], q: &[f64]) -> Coefficients {
    let mut product = vec![0.0; p.len() + q.len() - 1];
    for (i, a) in p.iter().enumerate() {
        for (j, b) in q.iter().enumerate() {
            product[i + j] += a * b;
        }
    }
    product
}

fn product(factors: &[Coefficients], chosen: impl Fn(usize) -> bool) -> Coefficients {
    let chosen = factors.iter().enumerate().filter(|(i, _)| chosen(*i));
    chosen.fold(vec![1.0], |product, (_, factor)| multiply(&product, factor))
}

/// Sets of factors for one side, as bits: all of them, or where they are many, every other factor and those that differ
/// from it by one exchange. (Factors in order of their roots: zeros of both sides spread over the interval keep both small.)
fn subsets(factors: usize) -> Vec<u64> {
    if factors <= 8 {
        return (0..1 << factors.saturating_sub(1)).collect();
    }
    let every_other = (0..factors).step_by(2).fold(0u64, |set, i| set | 1 << i);
    let exchanges = (0..factors).flat_map(|i| (0..i).map(move |j| every_other ^ (1 << i) ^ (1 << j)));
    std::iter::once(every_other).chain(exchanges).collect()
}

/// Real factors of degree 1 and 2 with these roots, each of size about 1 on [-1, 1], by ascending real part.
fn factors(roots: &[Complex]) -> Vec<Coefficients> {
    let mut roots = roots.to_vec();
    let mut factors = Vec::new();
    while let Some(z) = roots.pop() {
        let size = z.0.hypot(z.1);
        let distance = |w: &Complex| (w.0 - z.0).hypot(w.1 + z.1);
        let partner = (0..roots.len()).min_by(|&i, &j| distance(&roots[i]).total_cmp(&distance(&roots[j])));
        // The partner of a complex root is its conjugate; both are known up to rounding.
        match partner.filter(|_| z.1.abs() > 1e-12 * size) {
            Some(partner) => {
                let w = roots.swap_remove(partner);
                let (re, square) = ((z.0 + w.0) / 2.0, (size * size + w.0 * w.0 + w.1 * w.1) / 2.0);
                let scale = square.max(1.0);
                factors.push((re, vec![square / scale, -2.0 * re / scale, 1.0 / scale]));
            }
            None => factors.push((z.0, vec![-z.0 / size.max(1.0), 1.0 / size.max(1.0)])),
        }
    }
    factors.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    factors.into_iter().map(|(_, factor)| factor).collect()
}

/// All complex roots, by Aberth's iteration (Math. Comp. 27, 1973): Newton steps that push roots away from each other.
fn roots(p: &[f64]) -> Vec<Complex> {
    let degree = p.len() - 1;
    let divide = |a: Complex, b: Complex| {
        let size = b.0 * b.0 + b.1 * b.1;
        ((a.0 * b.0 + a.1 * b.1) / size, (a.1 * b.0 - a.0 * b.1) / size)
    };
    let value = |z: Complex| {
        let step = |(f, d): (Complex, Complex), c: &f64| {
            let times = |a: Complex| (a.0 * z.0 - a.1 * z.1, a.0 * z.1 + a.1 * z.0);
            let (zf, zd) = (times(f), times(d));
            ((zf.0 + c, zf.1), (zd.0 + f.0, zd.1 + f.1))
        };
        p.iter().rev().fold(((0.0, 0.0), (0.0, 0.0)), step)
    };
    // Roots of real polynomials come in pairs, so the start must not be symmetric to the real axis.
    let radius = (p[0] / p[degree]).abs().powf(1.0 / degree as f64).clamp(0.1, 1e6);
    let start = |i: usize| {
        let angle = std::f64::consts::TAU * i as f64 / degree as f64 + 0.4;
        (radius * angle.cos(), radius * angle.sin())
    };
    let mut roots: Vec<Complex> = (0..degree).map(start).collect();
    for _ in 0..200 {
        let mut moved = 0.0f64;
        for i in 0..degree {
            let z = roots[i];
            let (f, derivative) = value(z);
            if f == (0.0, 0.0) {
                continue;
            }
            let mut sum = divide(derivative, f);
            for (j, w) in roots.iter().enumerate() {
                if j != i && *w != z {
                    let push = divide((1.0, 0.0), (z.0 - w.0, z.1 - w.1));
                    sum = (sum.0 - push.0, sum.1 - push.1);
                }
            }
            let step = divide((1.0, 0.0), sum);
            if step.0.is_finite() && step.1.is_finite() {
                roots[i] = (z.0 - step.0, z.1 - step.1);
                moved = moved.max(step.0.hypot(step.1) / z.0.hypot(z.1).max(1e-3));
            }
        }
        if moved < 1e-15 {
            break;
        }
    }
    roots
}
