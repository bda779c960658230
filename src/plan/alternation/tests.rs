//! Normal forms against the networks that they stand for.

use proptest::prelude::*;

use super::*;
use crate::network::Conv2d;

/// The outputs, with every value before a square rounded to `bits` bits, relative to the largest of its layer.
fn run(maps: &[AffineMap], input: &[f64], bits: i32) -> Vec<f64> {
    let mut values = maps[0].apply(input).unwrap();
    for map in &maps[1..] {
        values.iter_mut().for_each(|value| *value *= *value);
        let largest = values.iter().fold(f64::MIN_POSITIVE, |largest: f64, value| largest.max(value.abs()));
        let unit = largest * 2f64.powi(-bits);
        values.iter_mut().for_each(|value| *value = (*value / unit).round() * unit);
        values = map.apply(&values).unwrap();
    }
    values
}

/// As many points of [-range, range] as `count`.
fn points(range: f64, count: usize) -> Vec<f64> {
    (0..count).map(|i| range * (2.0 * i as f64 / (count - 1) as f64 - 1.0)).collect()
}

/// The network of one polynomial, its normal form for values up to `range`, and the largest error at a precision of 30
/// bits relative to the largest answer.
fn polynomial(coefficients: &[f64], range: f64) -> (Vec<AffineMap>, f64) {
    let activation = Activation::polynomial(coefficients).unwrap();
    let count = 101;
    let network = Network::new(&[count], vec![Layer::activation("polynomial", activation)]).unwrap();
    let points = points(range, count);
    let ranges = network.ranges(&points).unwrap();
    let Alternation { maps, layers } = alternation(&network, Some(&ranges)).unwrap();
    assert!(layers.iter().all(|name| name == "polynomial"));
    let expected = network.evaluate(&points).unwrap();
    let (low, high) = expected.iter().fold((f64::MAX, f64::MIN), |(l, h), y| (l.min(*y), h.max(*y)));
    let largest = (high - low) / 2.0;
    let worst = |bits| {
        let errors = run(&maps, &points, bits).into_iter().zip(&expected).map(|(got, y)| (got - y).abs() / largest);
        errors.fold(0.0, f64::max)
    };
    assert!(worst(52) < 1e-7, "{coefficients:?} over {range}: {}", worst(52));
    let amplification = worst(30) * 2f64.powi(30);
    (maps, amplification)
}

fn squares(maps: &[AffineMap]) -> Vec<usize> {
    maps[..maps.len() - 1].iter().map(|map| map.outputs() / maps[0].inputs()).collect()
}

#[test]
fn quadratics_complete_the_square_where_that_loses_little() {
    let (maps, amplification) = polynomial(&[0.3, -0.7, 0.2], 4.0);
    assert_eq!(squares(&maps), [1]);
    assert!(amplification < 2.0, "{amplification}");
    assert!((maps[0].bias()[0] + 1.75).abs() < 1e-12, "x + b / 2a");
    // (x + 50)^2 has 10 bits more than what it is to give.
    let (maps, amplification) = polynomial(&[0.0, 1.0, 0.01], 1.0);
    assert_eq!(squares(&maps), [2]);
    assert!(amplification < 2.0, "{amplification}");
}

#[test]
fn special_polynomials_take_few_squares() {
    for (coefficients, expected) in [
        (&[0.0, 0.0, 2.5][..], &[1][..]),
        (&[0.0, 0.0, 0.0, 1.0], &[2, 2]),
        (&[0.0, 0.0, 0.0, 0.0, 1.0], &[1, 1]),
        (&[0.5, 0.0, -1.0, 0.0, 1.0], &[1, 1]),
        (&[2.0, 1.0, 1.25, 0.5, 0.25], &[1, 1]),
        (&[0.0, 1.0, 1.0, 1.0, 1.0], &[2, 2]),
        (&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], &[1, 2, 2]),
        (&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], &[1, 1, 1]),
        (&[0.0, 1.0, 0.0, -0.16, 0.0, 0.008, 0.0, -0.0002], &[2, 4, 2]),
        (&[1.0; 17], &[2, 4, 4, 2]),
    ] {
        assert_eq!(squares(&polynomial(coefficients, 1.5).0), expected, "{coefficients:?}");
    }
}

#[test]
fn chebyshev_polynomials_lose_few_bits() {
    // They have all their zeros and extremes in the interval: the worst there are to factor. What rounding their
    // argument would do is enlarged by their slope, the square of the degree: their squares do no worse.
    let (mut before, mut p) = (vec![1.0], vec![0.0, 1.0]);
    for degree in 2..=16usize {
        let mut next: Vec<f64> = std::iter::once(0.0).chain(p.iter().map(|c| 2.0 * c)).collect();
        before.iter().enumerate().for_each(|(i, c)| next[i] -= c);
        (before, p) = (p, next);
        let (maps, amplification) = polynomial(&p, 1.0);
        assert_eq!(maps.len() - 1, degree.next_power_of_two().ilog2() as usize);
        assert!(amplification < (degree * degree) as f64, "degree {degree}: {amplification}");
    }
}

proptest! {
    #[test]
    fn polynomials_take_least_depth_and_lose_few_bits(
        coefficients in prop::collection::vec(-1.0f64..1.0, 3..10),
        range in 0.25f64..8.0,
    ) {
        let degree = coefficients.len() - 1;
        prop_assume!(coefficients[degree] != 0.0);
        let (maps, amplification) = polynomial(&coefficients, range);
        prop_assert!(maps.len() - 1 <= degree.next_power_of_two().ilog2() as usize);
        prop_assert!(amplification < 32.0, "{amplification}");
        let most: &[usize] = match degree { 2 => &[2], 3 | 4 => &[2, 2], _ => &[2, 4, 2] };
        prop_assert!(squares(&maps).iter().zip(most).all(|(squares, most)| squares <= most), "{:?}", squares(&maps));
    }
}

/// A map of `[channels, 4, 4]` to itself, 3 x 3 with padding.
fn convolution(channels: usize, phase: f64) -> AffineMap {
    let weights: Vec<f64> = (0..channels * channels * 9).map(|i| (i as f64 * 1.3 + phase).sin() / 4.0).collect();
    let bias: Vec<f64> = (0..channels).map(|i| (i as f64 + phase).cos() / 4.0).collect();
    let options = Conv2d { bias: Some(&bias), padding: [1, 1], ..Conv2d::new(&weights, [channels, channels, 3, 3]) };
    AffineMap::conv2d([channels, 4, 4], &options).unwrap()
}

fn conv(phase: f64) -> Layer {
    Layer::affine("conv", convolution(2, phase))
}

fn square() -> Layer {
    Layer::activation("square", Activation::Square)
}

/// Whether no value of a network exceeds `limit`.
fn below(ranges: &Ranges, limit: f64) -> bool {
    ranges.layers.iter().chain([&ranges.input]).all(|range| *range < limit)
        && ranges.branches.values().flatten().all(|branch| below(branch, limit))
}

/// Compares the normal form of layers over `[2, 4, 4]` with them, and gives it.
fn compared(layers: Vec<Layer>) -> Vec<AffineMap> {
    let network = Network::new(&[2, 4, 4], layers).unwrap();
    let images: Vec<f64> = (0..4 * 32).map(|i| (i as f64 * 0.77).sin()).collect();
    let ranges = network.ranges(&images).unwrap();
    let largest = ranges.layers.last().unwrap().max(1e-3);
    let known = alternation(&network, Some(&ranges)).unwrap().maps;
    // Values far beyond the range that is taken where none is known lose much precision.
    let unknown = below(&ranges, 2.0).then(|| alternation(&network, None).unwrap().maps);
    for maps in std::iter::once(&known).chain(&unknown) {
        // At most 3 bits a map: carrying takes 2, completing a square 3.
        let limit = largest * 2f64.powi(3 * maps.len() as i32 - 52);
        assert_eq!(maps.last().unwrap().output_shape(), network.output_shape());
        for image in images.chunks(32) {
            for (got, expected) in run(maps, image, 52).iter().zip(network.evaluate(image).unwrap()) {
                assert!(
                    (got - expected).abs() < limit,
                    "{got} {expected} {} {}",
                    maps.len(),
                    std::ptr::eq(maps, &known)
                );
            }
        }
    }
    known
}

fn shapes(maps: &[AffineMap]) -> Vec<&[usize]> {
    maps.iter().map(|map| map.output_shape()).collect()
}

#[test]
fn plain_networks_keep_their_shapes_and_their_weights() {
    let maps = compared(vec![conv(0.1), square(), conv(0.2), square()]);
    assert_eq!(maps[..2], [convolution(2, 0.1), convolution(2, 0.2)]);
    assert_eq!(maps[2], AffineMap::identity(&[2, 4, 4]).unwrap());
}

#[test]
fn what_goes_around_a_square_is_carried_by_channels() {
    let block = |shortcut| Layer::residual("block", vec![conv(0.1), square(), conv(0.2)], shortcut);
    let maps = compared(vec![block(vec![])]);
    assert_eq!(shapes(&maps), [[6, 4, 4], [2, 4, 4]]);
    // A convolution of the second map reads the squares at its taps, and the carried input only in place.
    assert_eq!(maps[1].nonzeros(), convolution(2, 0.2).nonzeros() + 2 * 32);
    // The input is carried once for two blocks around the same square.
    let maps = compared(vec![block(vec![conv(0.3)])]);
    assert_eq!(shapes(&maps), [[6, 4, 4], [2, 4, 4]]);
    // Its square is wanted anyway.
    let maps = compared(vec![Layer::residual("block", vec![square(), conv(0.2)], vec![])]);
    assert_eq!(shapes(&maps), [[4, 4, 4], [2, 4, 4]]);
}

#[test]
fn a_small_map_of_the_input_is_carried_instead_of_it() {
    let numbers: Vec<f64> = (0..64).map(|i| (i as f64).sin() / 5.0).collect();
    let linear = || {
        let flatten = AffineMap::flatten(&[2, 4, 4]).unwrap();
        Layer::affine("linear", flatten.fuse(&AffineMap::linear(&numbers, [2, 32], None).unwrap()).unwrap())
    };
    let maps = compared(vec![Layer::residual("block", vec![conv(0.1), square(), linear()], vec![linear()])]);
    assert_eq!(shapes(&maps), [&[32 + 2 * 2][..], &[2]]);
}

#[test]
fn what_a_later_map_reads_of_a_sum_is_carried_instead_of_its_terms() {
    let numbers: Vec<f64> = (0..96).map(|i| (i as f64).sin() / 5.0).collect();
    let maps = compared(vec![
        Layer::residual("block", vec![conv(0.1), square(), conv(0.2)], vec![]),
        Layer::affine("flatten", AffineMap::flatten(&[2, 4, 4]).unwrap()),
        Layer::affine("linear", AffineMap::linear(&numbers, [3, 32], Some(&[0.1, 0.2, 0.3])).unwrap()),
    ]);
    assert_eq!(shapes(&maps), [&[32 + 2 * 3][..], &[3]]);
}

#[test]
fn branches_share_layers_of_squares() {
    let maps = compared(vec![Layer::residual("block", vec![conv(0.1), square()], vec![conv(0.2), square()])]);
    assert_eq!(shapes(&maps), [[4, 4, 4], [2, 4, 4]]);
    let maps = compared(vec![Layer::residual("block", vec![square()], vec![square()])]);
    assert_eq!(shapes(&maps), [[2, 4, 4], [2, 4, 4]]);
    // One square in one branch and two in the other: the first branch's is carried through the second's second.
    let deep = vec![conv(0.1), square(), conv(0.2), square()];
    let maps = compared(vec![Layer::residual("block", deep, vec![conv(0.3), square()])]);
    assert_eq!(shapes(&maps), [[4, 4, 4], [6, 4, 4], [2, 4, 4]]);
}

#[test]
fn blocks_without_squares_are_one_map() {
    let sum = |layers| vec![Layer::residual("block", layers, vec![])];
    let maps = compared((0..12).fold(vec![conv(0.1)], |layers, _| sum(layers)));
    assert_eq!(maps.len(), 1);
    let minus = Layer::affine("minus", AffineMap::scale(&[2, 4, 4], -1.0).unwrap());
    let zero = compared(vec![Layer::residual("cancels", vec![], vec![minus])]);
    assert_eq!(zero[0].nonzeros(), 0);
}

/// Layers over `[2, 4, 4]`.
fn layers(nesting: u32) -> BoxedStrategy<Vec<Layer>> {
    let simple = prop_oneof![
        (0.0f64..6.0).prop_map(conv),
        Just(square()),
        prop::collection::vec(-0.5f64..0.5, 3..6).prop_map(|mut coefficients| {
            coefficients.push(0.1);
            Layer::activation("polynomial", Activation::polynomial(&coefficients).unwrap())
        }),
    ];
    if nesting == 0 {
        return prop::collection::vec(simple, 0..3).boxed();
    }
    let block = (layers(nesting - 1), layers(nesting - 1))
        .prop_map(|(body, shortcut)| Layer::residual("block", body, shortcut));
    prop::collection::vec(prop_oneof![simple, block], 1..3).boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_network_has_a_normal_form(layers in layers(2)) {
        // Deep random networks outgrow double precision; their normal forms do so earlier.
        let network = Network::new(&[2, 4, 4], layers.clone()).unwrap();
        let images: Vec<f64> = (0..4 * 32).map(|i| (i as f64 * 0.77).sin()).collect();
        prop_assume!(below(&network.ranges(&images).unwrap(), 1e3));
        compared(layers);
    }
}

#[test]
fn polynomials_beyond_double_precision_are_refused_by_name() {
    let quartic = Activation::polynomial(&[0.0, 1.0, 0.0, 0.0, 1.0]).unwrap();
    let network = Network::new(&[1], vec![Layer::activation("quartic", quartic)]).unwrap();
    let ranges = network.ranges(&[1e80]).unwrap();
    let huge = Activation::polynomial(&[0.0, 1.0, 0.0, 0.0, 1e300]).unwrap();
    let network = Network::new(&[1], vec![Layer::activation("quartic", huge)]).unwrap();
    let error = alternation(&network, Some(&ranges)).unwrap_err();
    assert!(error.code() == "unsupported" && error.to_string().contains("layer quartic"), "{error}");
}
