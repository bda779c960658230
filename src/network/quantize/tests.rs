//! Integer networks against the same networks in double precision, and against big integers.

use num_bigint::BigInt;
use proptest::prelude::*;

use super::*;
use crate::network::{AffineMap, Layer, Pool2d};

fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed | 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as f64 / f64::from(1 << 30) - 1.0
        })
        .collect()
}

fn network(seed: u64) -> Network {
    let (first, second) = (numbers(16 * 9, seed), numbers(12, seed ^ 1));
    let pool = Pool2d { kernel: [3, 3], stride: [1, 1], padding: [0, 0] };
    Network::new(
        &[1, 5, 5],
        vec![
            Layer::affine("pool", AffineMap::avg_pool2d([1, 5, 5], &pool).unwrap()),
            Layer::affine("flatten", AffineMap::flatten(&[1, 3, 3]).unwrap()),
            Layer::affine("linear1", AffineMap::linear(&first, [16, 9], Some(&numbers(16, seed ^ 2))).unwrap()),
            Layer::activation("square", Activation::Square),
            Layer::affine("linear2", AffineMap::linear(&first, [9, 16], None).unwrap()),
            Layer::activation("polynomial", Activation::polynomial(&[0.125, 0.5, -0.75]).unwrap()),
            Layer::affine("linear3", AffineMap::linear(&second[..9], [1, 9], Some(&[0.5])).unwrap()),
        ],
    )
    .unwrap()
}

fn big_integers(network: &IntegerNetwork, image: &[i64]) -> Vec<BigInt> {
    let mut values: Vec<BigInt> = image.iter().map(|&value| value.into()).collect();
    for layer in network.layers() {
        values = match layer.operation() {
            IntegerOperation::Affine(map) => map
                .rows()
                .map(|(columns, weights, bias)| {
                    columns.iter().zip(weights).fold(bias.into(), |sum, (&c, &w)| sum + w * &values[c as usize])
                })
                .collect(),
            IntegerOperation::Square => values.iter().map(|x| x * x).collect(),
            IntegerOperation::Polynomial(coefficients) => {
                values.iter().map(|x| coefficients.iter().rev().fold(BigInt::from(0), |sum, &c| sum * x + c)).collect()
            }
        };
    }
    values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn exact_and_modular_answers_are_those_of_big_integers(
        seed: u64,
        bits in 2..10u32,
        t in prop_oneof![2..50u64, Just(100_000_007), (1u64 << 61) - 1000..1 << 61],
    ) {
        let network = IntegerNetwork::new(&network(seed), 255.0, bits).unwrap();
        let image = network.quantize(&numbers(25, seed ^ 7)).unwrap();
        let expected = big_integers(&network, &image);
        let answers = network.evaluate(&image).unwrap();
        prop_assert_eq!(answers.into_iter().map(BigInt::from).collect::<Vec<_>>(), expected.clone());
        let modular = network.evaluate_modulo(&image, t).unwrap();
        for (got, exact) in modular.iter().zip(&expected) {
            prop_assert_eq!((exact - got) % t, BigInt::from(0));
            prop_assert!(2 * got <= t.into() && 2 * got > -i128::from(t));
        }
    }

    #[test]
    fn answers_approach_the_networks(seed: u64) {
        let clear = network(seed);
        let images = numbers(75, seed ^ 7);
        let largest = clear.ranges(&images).unwrap().layers[5];
        let network = IntegerNetwork::new(&clear, 256.0, 9).unwrap();
        let answers = network.evaluate(&network.quantize(&images).unwrap()).unwrap();
        for (got, expected) in network.dequantize(&answers).iter().zip(clear.evaluate(&images).unwrap()) {
            prop_assert!((got - expected).abs() < 0.1 * largest, "{} {}", got, expected);
        }
    }

    #[test]
    fn bits_bound_the_values(seed: u64, bits in 2..10u32) {
        let network = IntegerNetwork::new(&network(seed), 255.0, bits).unwrap();
        let images = numbers(75, seed ^ 7);
        let worst = network.worst_case_bits(255.0);
        let calibrated = network.calibrated_bits(&images).unwrap();
        prop_assert!(calibrated.iter().zip(&worst).all(|(seen, bound)| seen <= bound), "{:?} {:?}", calibrated, worst);
        let answers = network.evaluate(&network.quantize(&images).unwrap()).unwrap();
        let largest = answers.iter().map(|answer| answer.unsigned_abs()).max().unwrap();
        prop_assert_eq!(calibrated.last().copied(), Some(u128::BITS - largest.leading_zeros()));
    }

    #[test]
    fn scales_fill_the_bits(weights in prop::collection::vec(-1e6..1e6f64, 2..9), bits in 2..62u32) {
        prop_assume!(weights.iter().any(|&weight| weight != weights[0]));
        let map = AffineMap::linear(&weights, [1, weights.len()], None).unwrap();
        let integers = map.quantize(map.weight_scale(bits).unwrap(), 1.0).unwrap();
        prop_assert!(integers.max_weight() < 1 << (bits - 1));
        prop_assert!(bits < 3 || integers.max_weight() >= (1 << (bits - 3)) || integers.max_weight() > 1 << 50);
    }
}

#[test]
fn values_that_outgrow_the_integers_are_named_and_modular_ones_cannot() {
    let square = || Layer::activation("square", Activation::Square);
    let total = Layer::affine("total", AffineMap::linear(&[3.0, -1.0], [1, 2], None).unwrap());
    let network = Network::new(&[2], vec![square(), square(), total]).unwrap();
    let network = IntegerNetwork::with_weight_scales(&network, 1.0, &[1.0, 1.0, 2f64.powi(60)]).unwrap();
    let image = [i64::MAX, 1];
    let error = network.evaluate(&image).unwrap_err();
    assert!(error.to_string().contains("layer square"), "{error}");
    assert!(network.worst_case_bits(2f64.powi(63)).iter().any(|&bits| bits > 127));
    assert_eq!(network.worst_case_bits(f64::INFINITY), [u32::MAX; 3]);
    let t = (1u64 << 61) - 1;
    let modular = network.evaluate_modulo(&image, t).unwrap();
    assert_eq!((&big_integers(&network, &image)[0] - modular[0]) % t, BigInt::from(0));
}

#[test]
fn pooling_is_a_sum_and_its_factor_a_scale() {
    let network = IntegerNetwork::new(&network(3), 16.0, 8).unwrap();
    let IntegerOperation::Affine(pool) = network.layers()[0].operation() else { panic!() };
    assert!(pool.weights().iter().all(|&weight| weight == 1));
    assert_eq!(network.layers()[0].scale(), 144.0);
    assert_eq!(network.layers()[1].scale(), 144.0);
}

#[test]
fn integers_keep_the_smallest_scale() {
    let map = AffineMap::linear(&[0.5, -1.5, 0.0, 2.0], [1, 4], Some(&[0.25])).unwrap();
    assert_eq!(map.weight_scale(20).unwrap(), 2.0);
    let integers = map.quantize(2.0, 10.0).unwrap();
    assert_eq!((integers.weights(), integers.bias()), (&[1, -3, 4][..], &[5][..]));
    assert_eq!((integers.columns(), integers.offsets()), (&[0, 1, 3][..], &[0, 3][..]));
    // A weight that rounds to zero leaves the row.
    let integers = map.quantize(0.25, 1.0).unwrap();
    assert_eq!((integers.weights(), integers.columns()), (&[1][..], &[3][..]));
}

#[test]
fn what_cannot_be_is_refused() {
    let clear = network(5);
    assert!(matches!(IntegerNetwork::new(&clear, 0.0, 8), Err(Error::InvalidArgument { name: "input_scale", .. })));
    assert!(matches!(IntegerNetwork::new(&clear, 1.0, 63), Err(Error::InvalidArgument { name: "weight_bits", .. })));
    assert!(matches!(IntegerNetwork::with_weight_scales(&clear, 1.0, &[1.0]), Err(Error::ShapeMismatch { .. })));
    let error = IntegerNetwork::new(&clear, 2f64.powi(100), 30).unwrap_err();
    assert!(error.to_string().contains("linear1"), "{error}");
    let map = AffineMap::linear(&[1.0, 2.0], [1, 2], None).unwrap();
    assert!(matches!(map.quantize(2f64.powi(63), 1.0), Err(Error::InvalidArgument { name: "weight_scale", .. })));

    let network = IntegerNetwork::new(&clear, 16.0, 8).unwrap();
    assert!(matches!(network.quantize(&[0.0, f64::NAN]), Err(Error::Unencodable { index: 1, .. })));
    assert!(matches!(network.quantize(&[1e30]), Err(Error::Unencodable { index: 0, .. })));
    assert!(matches!(network.evaluate(&[1; 24]), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(network.evaluate_modulo(&[1; 25], 1), Err(Error::InvalidArgument { .. })));
    let tiny = AffineMap::linear(&[f64::MIN_POSITIVE / 8.0, 0.0], [1, 2], None).unwrap();
    assert!(tiny.quantize(tiny.weight_scale(8).unwrap(), 1.0).is_ok());
}
