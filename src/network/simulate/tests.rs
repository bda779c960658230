//! The simulator against polynomials multiplied out in the ring, and against arithmetic in double precision.

use super::*;
use crate::encoding::{FractionalEncoder, IntegerEncoder};
use crate::network::{Conv2d, IntegerNetwork, Layer, Pool2d};

/// Balanced base-3 digits with 20 fractional places: the smallest encoder that has fractions and signs.
fn ternary(value: f64) -> Result<Vec<Digit>> {
    if !value.is_finite() || value.abs() > 1e6 {
        return Err(Error::Unencodable { value, index: 0, reason: "too large".into() });
    }
    let mut rest = (value * 3f64.powi(20)).round() as i64;
    let mut digits = Vec::new();
    for exponent in -20.. {
        if rest == 0 {
            break;
        }
        let digit = (rest + 1).rem_euclid(3) - 1;
        digits.push((exponent, digit));
        rest = (rest - digit) / 3;
    }
    Ok(digits)
}

/// The number that coefficients stand for: the upper half of the exponents are fractional places.
fn decode(modulus: u64, plaintext: &Plaintext) -> f64 {
    let Plaintext::Bfv(coefficients) = plaintext else { panic!("BFV was asked for") };
    let n = coefficients.len();
    let centred = |c: u64| if c > modulus / 2 { c as f64 - modulus as f64 } else { c as f64 };
    let value = |(i, &c): (usize, &u64)| match i < n / 2 {
        true => centred(c) * 3f64.powi(i as i32),
        false => -centred(c) * 3f64.powi(i as i32 - n as i32),
    };
    coefficients.iter().enumerate().map(value).sum()
}

fn numbers(count: usize, step: usize) -> Vec<f64> {
    (0..count).map(|i| ((i * step) % 41) as f64 / 20.0 - 1.0).collect()
}

fn network() -> Network {
    let (weights, bias, dense) = (numbers(18, 7), numbers(2, 5), numbers(24, 11));
    let conv = Conv2d { bias: Some(&bias), padding: [1, 1], ..Conv2d::new(&weights, [2, 1, 3, 3]) };
    let pool = Pool2d { kernel: [2, 2], stride: [2, 2], padding: [0, 0] };
    Network::new(
        &[1, 4, 4],
        vec![
            Layer::affine("conv", AffineMap::conv2d([1, 4, 4], &conv).unwrap()),
            Layer::activation("square", Activation::Square),
            Layer::affine("pool", AffineMap::avg_pool2d([2, 4, 4], &pool).unwrap()),
            Layer::affine("flatten", AffineMap::flatten(&[2, 2, 2]).unwrap()),
            Layer::affine("linear", AffineMap::linear(&dense, [3, 8], Some(&[0.5, 0.0, -2.0])).unwrap()),
            Layer::activation("polynomial", Activation::polynomial(&[0.25, -1.0, 0.5]).unwrap()),
        ],
    )
    .unwrap()
}

/// Multiplication modulo X^N + 1 and t, term by term.
fn schoolbook(t: u64, a: &[u64], b: &[u64]) -> Vec<u64> {
    let n = a.len();
    let mut sums = vec![0i128; n];
    for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let product = a[i] as i128 * b[j] as i128;
        sums[(i + j) % n] += if i + j < n { product } else { -product };
    }
    sums.into_iter().map(|sum| sum.rem_euclid(t as i128) as u64).collect()
}

fn add(t: u64, a: Vec<u64>, b: &[u64]) -> Vec<u64> {
    a.iter().zip(b).map(|(x, y)| (x + y) % t).collect()
}

#[test]
fn every_layer_is_the_rings_arithmetic_digit_for_digit() {
    // In the small rings windows wrap around and coefficients overflow: the simulator must do the same.
    for (degree, t) in [(16, 101), (64, 10_007), (1024, 100_000_007)] {
        let ring = PlainRing::new(degree, t).unwrap();
        let simulator = Simulator::new(&network(), ring, ternary).unwrap();
        let encode = |value: f64| ring.coefficients(&ring.element(&ternary(value).unwrap()));
        let image = numbers(16, 3);
        let trace = simulator.trace(&simulator.encode(&image).unwrap()).unwrap();
        let mut values: Vec<Vec<u64>> = image.iter().map(|&value| encode(value)).collect();
        for (layer, got) in network().layers().iter().zip(&trace) {
            values = match &layer.operation {
                Operation::Affine(map) => map
                    .rows()
                    .zip(map.bias())
                    .map(|((columns, weights), &bias)| {
                        columns.iter().zip(weights).fold(encode(bias), |sum, (&column, &weight)| {
                            add(t, sum, &schoolbook(t, &encode(weight), &values[column as usize]))
                        })
                    })
                    .collect(),
                Operation::Activation(Activation::Square) => values.iter().map(|x| schoolbook(t, x, x)).collect(),
                Operation::Activation(Activation::Polynomial(coefficients)) => values
                    .iter()
                    .map(|x| {
                        let terms = coefficients.iter().map(|&coefficient| encode(coefficient));
                        let powers = [encode(1.0), x.clone(), schoolbook(t, x, x)];
                        let zero = vec![0; degree];
                        terms.zip(&powers).fold(zero, |sum, (c, power)| add(t, sum, &schoolbook(t, &c, power)))
                    })
                    .collect(),
                Operation::Residual { .. } => unreachable!("the network has none"),
            };
            let got: Vec<Vec<u64>> = got.iter().map(|value| ring.coefficients(value)).collect();
            assert_eq!(got, values, "{} in degree {degree}", layer.name);
        }
    }
}

#[test]
fn with_room_enough_it_is_the_network() {
    let ring = PlainRing::new(1024, 1 << 40).unwrap();
    let simulator = Simulator::new(&network(), ring, ternary).unwrap();
    let images = numbers(48, 3);
    let got = simulator.predict(&images, |plaintext| Ok(decode(1 << 40, plaintext))).unwrap();
    let expected = network().evaluate(&images).unwrap();
    for (a, b) in got.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}

#[test]
fn bad_values_are_named_by_their_place() {
    let ring = PlainRing::new(64, 257).unwrap();
    let simulator = Simulator::new(&network(), ring, ternary).unwrap();
    let mut images = numbers(32, 3);
    images[20] = f64::NAN;
    let decoded = simulator.predict(&images, |_| Ok(0.0));
    assert!(matches!(decoded, Err(Error::Unencodable { index: 20, .. })), "{decoded:?}");
    assert!(matches!(simulator.predict(&images[..17], |_| Ok(0.0)), Err(Error::ShapeMismatch { .. })));
    let short = simulator.encode(&images[..3]).unwrap();
    assert!(matches!(simulator.evaluate(short), Err(Error::ShapeMismatch { .. })));

    let huge = AffineMap::linear(&[1.0, 1e9], [1, 2], None).unwrap();
    let network = Network::new(&[2], vec![Layer::affine("huge", huge)]).unwrap();
    assert!(matches!(Simulator::new(&network, ring, ternary), Err(Error::Unencodable { index: 1, .. })));
}

#[test]
fn the_papers_encoding_predicts_the_network() {
    let encoder = FractionalEncoder::new(4096, 100_000_007, 2, 64, 32).unwrap();
    // The second activation would take the coefficients beyond this plaintext modulus.
    let network = network().slice(0..5).unwrap();
    let simulator = Simulator::new(&network, PlainRing::new(4096, 100_000_007).unwrap(), encoder.clone()).unwrap();
    let image = numbers(16, 3);
    let fresh = simulator.encode(&image).unwrap();
    for (value, element) in image.iter().zip(&fresh) {
        // The encoder makes its plaintexts as short as SEAL does.
        let (Plaintext::Bfv(mut encoded), Plaintext::Bfv(simulated)) =
            (encoder.encode(*value).unwrap(), simulator.ring().plaintext(element))
        else {
            panic!("BFV was asked for")
        };
        encoded.resize(4096, 0);
        assert_eq!(encoded, simulated);
    }
    // SEAL's decoding leaves out the digits that products put below 2^-32: little after one product.
    let convolved = &simulator.trace(&fresh).unwrap()[0];
    for (element, expected) in convolved.iter().zip(&network.trace(&image).unwrap()[0]) {
        let decoded = encoder.decode(&simulator.ring().plaintext(element)).unwrap();
        assert!((decoded - expected).abs() < 1e-6, "{decoded} {expected}");
    }
    let images = numbers(48, 3);
    let answers = simulator.predict(&images, |plaintext| encoder.decode_all_digits(plaintext)).unwrap();
    for (answer, expected) in answers.iter().zip(network.evaluate(&images).unwrap()) {
        assert!((answer - expected).abs() < 1e-6, "{answer} {expected}");
    }
}

#[test]
fn integer_digits_predict_the_integer_network() {
    let integers = IntegerNetwork::new(&network(), 16.0, 5).unwrap();
    let images = integers.quantize(&numbers(32, 3)).unwrap();
    let encoder = IntegerEncoder::new(1024, 1 << 30, 3).unwrap();
    let ring = PlainRing::new(1024, 1 << 30).unwrap();
    let simulator = Simulator::new(&integers.to_network().unwrap(), ring, encoder.clone()).unwrap();
    let values: Vec<f64> = images.iter().map(|&value| value as f64).collect();
    let got = simulator.predict(&values, |plaintext| Ok(encoder.decode(plaintext)? as f64)).unwrap();
    let expected: Vec<f64> = integers.evaluate(&images).unwrap().into_iter().map(|value| value as f64).collect();
    assert_eq!(got, expected);
    assert!(matches!(simulator.encode(&[1.0, 0.5]), Err(Error::Unencodable { index: 1, .. })));
}

#[test]
fn residual_blocks_are_refused_by_name() {
    let network = Network::new(&[2], vec![Layer::residual("block", vec![], vec![])]).unwrap();
    let ring = PlainRing::new(1024, 1 << 30).unwrap();
    let simulator = Simulator::new(&network, ring, ternary).err();
    for error in [simulator, IntegerNetwork::new(&network, 16.0, 5).err()].map(Option::unwrap) {
        assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("layer block"), "{error}");
    }
}
