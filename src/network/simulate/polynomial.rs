//! The plaintext ring Z_t\[X\]/(X^N + 1) for short polynomials with negative exponents.

use crate::error::{Error, Result};
use crate::scheme::Plaintext;

/// One digit of an encoded number: its exponent of X, which may be negative, and its value.
pub type Digit = (i64, i64);

/// The ring Z_t\[X\]/(X^N + 1), where X^-i is -X^(N - i).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainRing {
    degree: i64,
    modulus: i64,
}

/// An element of a [`PlainRing`]: the coefficients of a window of exponents, everything else being 0.
///
/// Fractional encodings put the integer digits at the exponents 0, 1, ... and the fractional digits at -1, -2, ...; a
/// product only widens that window, and nothing has to wrap around before it is wider than N.
#[derive(Debug, Clone, Default)]
pub struct PlainPolynomial {
    /// the exponent of the first coefficient, in -N..N
    low: i64,
    /// centred residues modulo t, at most N of them, neither end 0
    coefficients: Vec<i64>,
}

impl PlainPolynomial {
    /// The coefficients that are not 0, with their exponents (possibly negative) in ascending order, centred modulo t.
    pub fn digits(&self) -> impl Iterator<Item = Digit> + '_ {
        (self.low..).zip(self.coefficients.iter().copied()).filter(|digit| digit.1 != 0)
    }

    fn high(&self) -> i64 {
        self.low + self.coefficients.len() as i64
    }
}

/// Below this, sums of products stay clear of the ends of i64.
const SUM_LIMIT: u128 = 1 << 62;

impl PlainRing {
    /// The ring of degree N (a power of two) and coefficients modulo t.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where N is not a power of two up to 2^30 or t is not in 2..2^61.
    pub fn new(degree: usize, modulus: u64) -> Result<Self> {
        if !degree.is_power_of_two() || degree > 1 << 30 {
            let reason = format!("{degree} is not a power of two up to 2^30");
            return Err(Error::InvalidArgument { name: "degree", reason });
        }
        if !(2..1 << 61).contains(&modulus) {
            let reason = format!("{modulus} is not between 2 and 2^61");
            return Err(Error::InvalidArgument { name: "plaintext modulus", reason });
        }
        Ok(Self { degree: degree as i64, modulus: modulus as i64 })
    }

    /// The polynomial degree N.
    pub fn degree(&self) -> usize {
        self.degree as usize
    }

    /// The plaintext modulus t.
    pub fn modulus(&self) -> u64 {
        self.modulus as u64
    }

    /// The element with these digits, in any order; digits at the same place add up.
    pub fn element(&self, digits: &[Digit]) -> PlainPolynomial {
        let digits = self.reduce_digits(digits);
        let (Some(first), Some(last)) = (digits.first(), digits.last()) else { return PlainPolynomial::default() };
        let mut coefficients = vec![0; (last.0 - first.0 + 1) as usize];
        for (exponent, digit) in &digits {
            coefficients[(exponent - first.0) as usize] = *digit;
        }
        self.normalise(first.0, &mut coefficients)
    }

    /// Digits as the ring has them: exponents ascending in -N/2..N/2, values centred modulo t and not 0.
    ///
    /// That keeps the digits of one number close together, where an encoder may have put fractions at the top.
    pub fn reduce_digits(&self, digits: &[Digit]) -> Vec<Digit> {
        let mut places = std::collections::BTreeMap::new();
        for &(exponent, digit) in digits {
            let place = exponent.rem_euclid(2 * self.degree);
            let turns = (place + self.degree / 2) / self.degree;
            let (exponent, negative) = (place - turns * self.degree, turns == 1);
            let digit = self.centre(digit);
            let sum = places.entry(exponent).or_insert(0);
            *sum = self.centre(*sum + if negative { -digit } else { digit });
        }
        places.into_iter().filter(|digit| digit.1 != 0).collect()
    }

    /// The coefficients of X^0 to X^(N - 1), in `[0, t)`: what decryption gives.
    pub fn coefficients(&self, element: &PlainPolynomial) -> Vec<u64> {
        let mut coefficients = vec![0i64; self.degree()];
        for (exponent, value) in element.digits() {
            let sign = if exponent.div_euclid(self.degree) % 2 == 0 { 1 } else { -1 };
            coefficients[exponent.rem_euclid(self.degree) as usize] += sign * value;
        }
        coefficients.into_iter().map(|value| value.rem_euclid(self.modulus) as u64).collect()
    }

    /// What decrypting the element gives.
    pub fn plaintext(&self, element: &PlainPolynomial) -> Plaintext {
        Plaintext::Bfv(self.coefficients(element))
    }

    /// `sum of weight * value over terms, plus constant`. Weights and constant come from
    /// [`reduce_digits`](Self::reduce_digits); `scratch` is working memory.
    pub fn combine<'a>(
        &self,
        terms: impl Iterator<Item = (&'a [Digit], &'a PlainPolynomial)> + Clone,
        constant: &[Digit],
        scratch: &mut Vec<i64>,
    ) -> PlainPolynomial {
        let (mut low, mut high) = (i64::MAX, i64::MIN);
        let mut include = |from: i64, to: i64| (low, high) = (low.min(from), high.max(to));
        if let (Some(first), Some(last)) = (constant.first(), constant.last()) {
            include(first.0, last.0 + 1);
        }
        for (weight, value) in terms.clone() {
            if let (Some(first), Some(last), false) = (weight.first(), weight.last(), value.coefficients.is_empty()) {
                include(first.0 + value.low, last.0 + value.high());
            }
        }
        if low >= high {
            return PlainPolynomial::default();
        }
        scratch.clear();
        scratch.resize((high - low) as usize, 0);
        for &(exponent, digit) in constant {
            scratch[(exponent - low) as usize] = digit;
        }
        let half = self.modulus as u128 / 2;
        let mut bound = half;
        for (weight, value) in terms.filter(|(_, value)| !value.coefficients.is_empty()) {
            for &(exponent, digit) in weight {
                let product_bound = u128::from(digit.unsigned_abs()) * half;
                let lazy = product_bound <= SUM_LIMIT / 2;
                let step = if lazy { product_bound } else { half };
                if bound + step > SUM_LIMIT {
                    scratch.iter_mut().for_each(|sum| *sum = self.centre(*sum));
                    bound = half;
                }
                bound += step;
                let start = (exponent + value.low - low) as usize;
                let sums = &mut scratch[start..start + value.coefficients.len()];
                if lazy {
                    multiply_add(sums, &value.coefficients, digit);
                } else {
                    for (sum, &x) in sums.iter_mut().zip(&value.coefficients) {
                        *sum += self.product(digit, x);
                    }
                }
            }
        }
        self.normalise(low, scratch)
    }

    /// The product of two elements.
    pub fn multiply(&self, a: &PlainPolynomial, b: &PlainPolynomial) -> PlainPolynomial {
        let (short, long) = if a.coefficients.len() <= b.coefficients.len() { (a, b) } else { (b, a) };
        if short.coefficients.is_empty() {
            return PlainPolynomial::default();
        }
        let fits = self.products_fit(short, long);
        let mut sums = vec![0i64; short.coefficients.len() + long.coefficients.len() - 1];
        for (start, &factor) in short.coefficients.iter().enumerate().filter(|(_, factor)| **factor != 0) {
            let sums = &mut sums[start..start + long.coefficients.len()];
            if fits {
                multiply_add(sums, &long.coefficients, factor);
            } else {
                for (sum, &x) in sums.iter_mut().zip(&long.coefficients) {
                    *sum = self.centre(*sum + self.product(factor, x));
                }
            }
        }
        self.normalise(a.low + b.low, &mut sums)
    }

    /// The square of an element: each product of two different coefficients is computed once.
    pub fn square(&self, a: &PlainPolynomial) -> PlainPolynomial {
        if a.coefficients.is_empty() || !self.products_fit(a, a) {
            return self.multiply(a, a);
        }
        let len = a.coefficients.len();
        let mut sums = vec![0i64; 2 * len - 1];
        for (i, &factor) in a.coefficients.iter().enumerate().filter(|(_, factor)| **factor != 0) {
            sums[2 * i] += factor * factor;
            multiply_add(&mut sums[2 * i + 1..i + len], &a.coefficients[i + 1..], 2 * factor);
        }
        self.normalise(2 * a.low, &mut sums)
    }

    /// Whether every coefficient of a product, and twice each product of two coefficients, stays clear of overflow.
    fn products_fit(&self, short: &PlainPolynomial, long: &PlainPolynomial) -> bool {
        let largest = |p: &PlainPolynomial| p.coefficients.iter().fold(0, |most, c| c.unsigned_abs().max(most));
        let bound = u128::from(largest(short)) * u128::from(largest(long)) * 2;
        bound.saturating_mul(short.coefficients.len() as u128) < SUM_LIMIT
    }

    /// The sum of an element and a constant from [`reduce_digits`](Self::reduce_digits).
    pub fn add_constant(&self, element: &PlainPolynomial, constant: &[Digit]) -> PlainPolynomial {
        self.combine(std::iter::once((&[(0, 1)][..], element)), constant, &mut Vec::new())
    }

    /// The residue of `value` in (-t/2, t/2].
    fn centre(&self, value: i64) -> i64 {
        let half = (self.modulus - 1) / 2;
        if (-half..=half).contains(&value) {
            return value;
        }
        let residue = value.rem_euclid(self.modulus);
        if residue > self.modulus / 2 { residue - self.modulus } else { residue }
    }

    fn product(&self, a: i64, b: i64) -> i64 {
        // The remainder is below t in magnitude, hence fits.
        self.centre((i128::from(a) * i128::from(b) % i128::from(self.modulus)) as i64)
    }

    /// An exponent in -N..N for the same power of X, and whether the sign changes. Exponents there already stay.
    fn reduce_exponent(&self, exponent: i64) -> (i64, bool) {
        if (-self.degree..self.degree).contains(&exponent) {
            return (exponent, false);
        }
        (exponent.rem_euclid(self.degree), exponent.div_euclid(self.degree) % 2 != 0)
    }

    /// The element with these sums, of any length, from exponent `low` on.
    fn normalise(&self, low: i64, sums: &mut [i64]) -> PlainPolynomial {
        sums.iter_mut().for_each(|sum| *sum = self.centre(*sum));
        let Some(first) = sums.iter().position(|&sum| sum != 0) else { return PlainPolynomial::default() };
        let end = sums.iter().rposition(|&sum| sum != 0).map_or(first, |last| last + 1);
        let sums = &sums[first..end];
        let degree = self.degree();
        let (low, negative) = self.reduce_exponent(low + first as i64);
        if sums.len() <= degree && !negative {
            return PlainPolynomial { low, coefficients: sums.to_vec() };
        }
        let mut coefficients = vec![0; sums.len().min(degree)];
        for (turn, chunk) in sums.chunks(degree).enumerate() {
            let minus = (turn % 2 == 1) != negative;
            for (coefficient, &sum) in coefficients.iter_mut().zip(chunk) {
                *coefficient = self.centre(*coefficient + if minus { -sum } else { sum });
            }
        }
        match coefficients.iter().position(|&coefficient| coefficient != 0) {
            None => PlainPolynomial::default(),
            // Folding may have cancelled the ends; this time the window is short enough.
            Some(_) if sums.len() > degree => self.normalise(low, &mut coefficients),
            Some(_) => PlainPolynomial { low, coefficients },
        }
    }
}

/// `sums += factor * values`, where the caller has made sure that nothing overflows.
fn multiply_add(sums: &mut [i64], values: &[i64], factor: i64) {
    let pairs = sums.iter_mut().zip(values);
    match factor {
        1 => pairs.for_each(|(sum, value)| *sum += value),
        -1 => pairs.for_each(|(sum, value)| *sum -= value),
        _ => pairs.for_each(|(sum, value)| *sum += factor * value),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The element with these digits, by multiplying each out in the ring one step at a time.
    fn dense(ring: &PlainRing, digits: &[Digit]) -> Vec<u64> {
        let (n, t) = (ring.degree(), ring.modulus() as i128);
        let mut sums = vec![0i128; n];
        for &(exponent, digit) in digits {
            let power = exponent.rem_euclid(2 * n as i64) as usize;
            let sign = if power < n { 1 } else { -1 };
            sums[power % n] += sign * digit as i128;
        }
        sums.into_iter().map(|sum| sum.rem_euclid(t) as u64).collect()
    }

    /// Schoolbook multiplication modulo X^N + 1 and t.
    fn schoolbook(ring: &PlainRing, a: &[u64], b: &[u64]) -> Vec<u64> {
        let (n, t) = (ring.degree(), ring.modulus() as i128);
        let mut sums = vec![0i128; n];
        for (i, &x) in a.iter().enumerate() {
            for (j, &y) in b.iter().enumerate() {
                let product = x as i128 * y as i128 % t;
                sums[(i + j) % n] += if i + j < n { product } else { -product };
            }
        }
        sums.into_iter().map(|sum| sum.rem_euclid(t) as u64).collect()
    }

    fn sum(ring: &PlainRing, a: &[u64], b: &[u64]) -> Vec<u64> {
        a.iter().zip(b).map(|(x, y)| (x + y) % ring.modulus()).collect()
    }

    fn ring() -> impl Strategy<Value = PlainRing> {
        (0..6u32, prop_oneof![2..20u64, Just(100_000_007), (1u64 << 61) - 100..1 << 61])
            .prop_map(|(log, t)| PlainRing::new(1 << log, t).unwrap())
    }

    fn digits(reach: i64, largest: i64) -> impl Strategy<Value = Vec<Digit>> {
        prop::collection::vec((-reach..=reach, -largest..=largest), 0..12)
    }

    fn any_digits() -> impl Strategy<Value = Vec<Digit>> {
        prop_oneof![digits(5, 1), digits(200, 3), digits(40, i64::MAX)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn elements_are_their_digits(ring in ring(), a in any_digits()) {
            prop_assert_eq!(ring.coefficients(&ring.element(&a)), dense(&ring, &a));
            prop_assert_eq!(dense(&ring, &ring.reduce_digits(&a)), dense(&ring, &a));
        }

        #[test]
        fn products_are_schoolbook(ring in ring(), a in any_digits(), b in any_digits()) {
            let product = ring.multiply(&ring.element(&a), &ring.element(&b));
            let expected = schoolbook(&ring, &dense(&ring, &a), &dense(&ring, &b));
            prop_assert_eq!(ring.coefficients(&product), expected.clone());
            let square = schoolbook(&ring, &expected, &expected);
            prop_assert_eq!(ring.coefficients(&ring.multiply(&product, &product)), square.clone());
            prop_assert_eq!(ring.coefficients(&ring.square(&product)), square);
        }

        #[test]
        fn combinations_are_sums_of_products(
            ring in ring(),
            terms in prop::collection::vec((any_digits(), any_digits()), 0..5),
            constant in any_digits(),
        ) {
            let encoded: Vec<_> = terms.iter().map(|(w, x)| (ring.reduce_digits(w), ring.element(x))).collect();
            let got = ring.combine(
                encoded.iter().map(|(w, x)| (w.as_slice(), x)),
                &ring.reduce_digits(&constant),
                &mut vec![7; 3],
            );
            let expected = terms.iter().fold(dense(&ring, &constant), |total, (w, x)| {
                sum(&ring, &total, &schoolbook(&ring, &dense(&ring, w), &dense(&ring, x)))
            });
            prop_assert_eq!(ring.coefficients(&got), expected.clone());
            let shifted = ring.add_constant(&got, &ring.reduce_digits(&constant));
            prop_assert_eq!(ring.coefficients(&shifted), sum(&ring, &expected, &dense(&ring, &constant)));
        }
    }

    #[test]
    fn parameters_are_checked() {
        assert!(PlainRing::new(3, 5).is_err());
        assert!(PlainRing::new(0, 5).is_err());
        assert!(PlainRing::new(4, 1).is_err());
        assert!(PlainRing::new(4, 1 << 61).is_err());
    }
}
