//! Every constructor against loops written straight from its definition.

use proptest::prelude::*;

use super::*;

/// Numbers that are exact in double precision whatever the order of a sum.
fn grid(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 40) % 65) as f64 / 8.0 - 4.0
        })
        .collect()
}

/// A zero-padded image: `at(channel, y, x)` counts from the padding's first row and column.
struct Image<'a> {
    values: &'a [f64],
    shape: [usize; 3],
    padding: [usize; 2],
}

impl Image<'_> {
    fn at(&self, channel: usize, y: usize, x: usize) -> f64 {
        let [_, height, width] = self.shape;
        if y < self.padding[0] || x < self.padding[1] {
            return 0.0;
        }
        let (y, x) = (y - self.padding[0], x - self.padding[1]);
        if y < height && x < width { self.values[(channel * height + y) * width + x] } else { 0.0 }
    }
}

/// A convolution, by its definition on a padded image.
fn naive_conv2d(image: &[f64], shape: [usize; 3], conv: &Conv2d) -> Vec<f64> {
    let padded = Image { values: image, shape, padding: conv.padding };
    let [filters, group_channels, ky, kx] = conv.shape;
    let height = shape[1] + 2 * conv.padding[0] - conv.dilation[0] * (ky - 1);
    let width = shape[2] + 2 * conv.padding[1] - conv.dilation[1] * (kx - 1);
    let mut output = Vec::new();
    for filter in 0..filters {
        let group = filter * conv.groups / filters;
        for top in (0..height).step_by(conv.stride[0]) {
            for left in (0..width).step_by(conv.stride[1]) {
                let mut sum = conv.bias.map_or(0.0, |bias| bias[filter]);
                for c in 0..group_channels {
                    for i in 0..ky {
                        for j in 0..kx {
                            let weight = conv.weights[filter * group_channels * ky * kx + c * ky * kx + i * kx + j];
                            let (y, x) = (top + i * conv.dilation[0], left + j * conv.dilation[1]);
                            sum += weight * padded.at(group * group_channels + c, y, x);
                        }
                    }
                }
                output.push(sum);
            }
        }
    }
    output
}

#[derive(Debug, Clone)]
struct Case {
    groups: usize,
    filters_per_group: usize,
    channels_per_group: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    seed: u64,
}

fn pair(range: std::ops::Range<usize>) -> impl Strategy<Value = [usize; 2]> {
    [range.clone(), range]
}

fn case() -> impl Strategy<Value = Case> {
    (1..4usize, 1..3usize, 1..3usize, pair(1..8), pair(1..4), pair(1..5), pair(0..3), pair(1..3), any::<u64>())
        .prop_map(|(groups, filters_per_group, channels_per_group, size, kernel, stride, padding, dilation, seed)| {
            Case { groups, filters_per_group, channels_per_group, size, kernel, stride, padding, dilation, seed }
        })
        .prop_filter("the kernel fits", |case| {
            (0..2).all(|i| case.dilation[i] * (case.kernel[i] - 1) < case.size[i] + 2 * case.padding[i])
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn conv2d_is_the_definition(case in case()) {
        let shape = [case.groups * case.channels_per_group, case.size[0], case.size[1]];
        let filters = case.groups * case.filters_per_group;
        let weight_shape = [filters, case.channels_per_group, case.kernel[0], case.kernel[1]];
        let (weights, bias) = (grid(weight_shape.iter().product(), case.seed), grid(filters, case.seed ^ 1));
        let conv = Conv2d {
            bias: Some(&bias),
            stride: case.stride,
            padding: case.padding,
            dilation: case.dilation,
            groups: case.groups,
            ..Conv2d::new(&weights, weight_shape)
        };
        let map = AffineMap::conv2d(shape, &conv).unwrap();
        let image = grid(shape.iter().product(), case.seed ^ 2);
        prop_assert_eq!(map.apply(&image).unwrap(), naive_conv2d(&image, shape, &conv));
        prop_assert!(map.weights().iter().all(|&weight| weight != 0.0));
    }

    #[test]
    fn conv1d_is_the_definition(case in case()) {
        let shape = [case.groups * case.channels_per_group, case.size[1]];
        let filters = case.groups * case.filters_per_group;
        let weights = grid(filters * case.channels_per_group * case.kernel[1], case.seed);
        let conv = Conv1d {
            stride: case.stride[1],
            padding: case.padding[1],
            dilation: case.dilation[1],
            groups: case.groups,
            ..Conv1d::new(&weights, [filters, case.channels_per_group, case.kernel[1]])
        };
        let map = AffineMap::conv1d(shape, &conv).unwrap();
        let signal = grid(shape.iter().product(), case.seed ^ 2);
        let length = shape[1] + 2 * case.padding[1] - case.dilation[1] * (case.kernel[1] - 1);
        let at = |c: usize, x: usize| {
            x.checked_sub(case.padding[1]).filter(|&x| x < shape[1]).map_or(0.0, |x| signal[c * shape[1] + x])
        };
        let mut expected = Vec::new();
        for filter in 0..filters {
            for start in (0..length).step_by(case.stride[1]) {
                let mut sum = 0.0;
                for c in 0..case.channels_per_group {
                    for k in 0..case.kernel[1] {
                        let weight = weights[(filter * case.channels_per_group + c) * case.kernel[1] + k];
                        let channel = filter / case.filters_per_group * case.channels_per_group + c;
                        sum += weight * at(channel, start + k * case.dilation[1]);
                    }
                }
                expected.push(sum);
            }
        }
        prop_assert_eq!(map.apply(&signal).unwrap(), expected);
        prop_assert_eq!(map.input_shape(), &shape);
        prop_assert_eq!(map.output_shape(), &[filters, length.div_ceil(case.stride[1])]);
    }

    #[test]
    fn avg_pool2d_counts_padding(case in case()) {
        prop_assume!((0..2).all(|i| case.kernel[i] <= case.size[i] + 2 * case.padding[i]));
        let shape = [case.groups, case.size[0], case.size[1]];
        let pool = Pool2d { kernel: case.kernel, stride: case.stride, padding: case.padding };
        let map = AffineMap::avg_pool2d(shape, &pool).unwrap();
        let image = grid(shape.iter().product(), case.seed);
        let padded = Image { values: &image, shape, padding: case.padding };
        let mut expected = Vec::new();
        for c in 0..shape[0] {
            for top in (0..=shape[1] + 2 * case.padding[0] - case.kernel[0]).step_by(case.stride[0]) {
                for left in (0..=shape[2] + 2 * case.padding[1] - case.kernel[1]).step_by(case.stride[1]) {
                    let mut sum = 0.0;
                    for (y, x) in (0..case.kernel[0]).flat_map(|y| (0..case.kernel[1]).map(move |x| (y, x))) {
                        sum += padded.at(c, top + y, left + x);
                    }
                    expected.push(sum);
                }
            }
        }
        let (sums, factor) = map.clone().into_sum_and_factor();
        if map.nonzeros() > 0 {
            prop_assert_eq!(factor, 1.0 / (case.kernel[0] * case.kernel[1]) as f64);
        }
        prop_assert_eq!(sums.apply(&image).unwrap(), expected.clone());
        for (mean, sum) in map.apply(&image).unwrap().iter().zip(&expected) {
            prop_assert!((mean - sum / (case.kernel[0] * case.kernel[1]) as f64).abs() < 1e-12);
        }
    }

    #[test]
    fn linear_is_the_definition(outputs in 1..6usize, inputs in 1..9usize, images in 0..4usize, seed: u64) {
        let (weights, bias) = (grid(outputs * inputs, seed), grid(outputs, seed ^ 1));
        let map = AffineMap::linear(&weights, [outputs, inputs], Some(&bias)).unwrap();
        let x = grid(images * inputs, seed ^ 2);
        let mut expected = Vec::new();
        for image in 0..images {
            for o in 0..outputs {
                expected.push((0..inputs).fold(bias[o], |sum, i| sum + weights[o * inputs + i] * x[image * inputs + i]));
            }
        }
        prop_assert_eq!(map.apply(&x).unwrap(), expected);
    }

    #[test]
    fn fusing_composes(case in case(), outputs in 1..5usize) {
        let shape = [case.groups * case.channels_per_group, case.size[0], case.size[1]];
        let weight_shape = [case.groups, case.channels_per_group, case.kernel[0], case.kernel[1]];
        let (weights, bias) = (grid(weight_shape.iter().product(), case.seed), grid(case.groups, case.seed ^ 1));
        let conv = Conv2d {
            bias: Some(&bias),
            padding: case.padding,
            dilation: case.dilation,
            groups: case.groups,
            ..Conv2d::new(&weights, weight_shape)
        };
        let conv = AffineMap::conv2d(shape, &conv).unwrap();
        let flatten = AffineMap::flatten(conv.output_shape()).unwrap();
        let (weights, bias) = (grid(outputs * conv.outputs(), case.seed ^ 3), grid(outputs, case.seed ^ 4));
        let linear = AffineMap::linear(&weights, [outputs, conv.outputs()], Some(&bias)).unwrap();

        let fused = conv.fuse(&flatten).unwrap().fuse(&linear).unwrap();
        let image = grid(conv.inputs(), case.seed ^ 5);
        let stepwise = linear.apply(&flatten.apply(&conv.apply(&image).unwrap()).unwrap()).unwrap();
        prop_assert_eq!(fused.apply(&image).unwrap(), stepwise);
        prop_assert_eq!(fused.input_shape(), &shape);
        prop_assert_eq!(fused.output_shape(), &[outputs]);
        prop_assert!(fused.nonzeros() as u64 <= conv.fused_entries_bound(&linear));
    }
}

#[test]
fn distinct_weights_of_a_convolution_are_its_filters() {
    let weights = [0.5, -1.0, 0.0, 2.0];
    let map = AffineMap::conv2d([1, 5, 5], &Conv2d::new(&weights, [1, 1, 2, 2])).unwrap();
    let (distinct, indices) = map.distinct_weights();
    assert_eq!(distinct, [0.5, -1.0, 2.0]);
    assert_eq!(map.nonzeros(), 16 * 3);
    let spelled: Vec<f64> = indices.iter().map(|&index| distinct[index as usize]).collect();
    assert_eq!(spelled, map.weights());
}

#[test]
fn filters_at_one_position_share_their_columns() {
    let weights = grid(4 * 9, 7).into_iter().map(|w| w + 100.0).collect::<Vec<_>>();
    let map = AffineMap::conv2d([1, 6, 6], &Conv2d { stride: [3, 3], ..Conv2d::new(&weights, [4, 1, 3, 3]) }).unwrap();
    assert_eq!(map.rows_by_columns(), [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]]);
}

#[test]
fn padding_moves_values_and_costs_nothing() {
    let map = AffineMap::pad2d([1, 1, 2], [[1, 0], [1, 2]]).unwrap();
    assert_eq!(map.apply(&[3.0, 4.0]).unwrap(), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0]);
    assert_eq!(map.multiplications(), 0);
    let map = AffineMap::pad1d([2, 1], [1, 0]).unwrap();
    assert_eq!(map.apply(&[3.0, 4.0]).unwrap(), [0.0, 3.0, 0.0, 4.0]);
    assert_eq!(map.output_shape(), [2, 2]);
}

#[test]
fn batch_norm_is_by_channel() {
    let map = AffineMap::batch_norm(&[2, 2], &[2.0, 3.0], &[1.0, -1.0], &[0.5, 0.0], &[3.0, 8.0], 1.0).unwrap();
    assert_eq!(map.apply(&[0.5, 1.5, 3.0, -3.0]).unwrap(), [1.0, 2.0, 2.0, -4.0]);
}

#[test]
fn every_value_has_its_weight_and_bias() {
    let map = AffineMap::elementwise(&[1, 2], &[2.0, -1.0], &[0.5, 0.0]).unwrap();
    assert_eq!(map.apply(&[3.0, 4.0]).unwrap(), [6.5, -4.0]);
    assert_eq!(map.output_shape(), [1, 2]);
    for (weights, bias) in [(&[1.0, 1.0][..], &[0.0][..]), (&[1.0][..], &[0.0, 0.0][..])] {
        assert!(matches!(AffineMap::elementwise(&[2], weights, bias), Err(Error::ShapeMismatch { .. })));
    }
    let nan = AffineMap::elementwise(&[1], &[f64::NAN], &[0.0]);
    assert!(matches!(nan, Err(Error::InvalidArgument { name: "weights", .. })));
}

#[test]
fn spans_average_what_they_see() {
    let whole = Span { start: 0, end: 2, divisor: 2 };
    let overlapping = [whole, Span { start: 1, end: 3, divisor: 4 }, Span { start: 3, end: 3, divisor: 1 }];
    let map = AffineMap::average_spans([1, 2, 3], &[whole], &overlapping).unwrap();
    assert_eq!(map.apply(&[1.0, 2.0, 3.0, 5.0, 4.0, 7.0]).unwrap(), [3.0, 2.0, 0.0]);
    assert_eq!(map.output_shape(), [1, 1, 3]);

    let refused = |span| AffineMap::average_spans([1, 2, 3], &[whole], &[span]).unwrap_err();
    for (start, end, divisor) in [(0, 4, 1), (2, 1, 1), (0, 1, 0)] {
        assert!(matches!(refused(Span { start, end, divisor }), Error::InvalidArgument { name: "spans", .. }));
    }
    assert!(matches!(AffineMap::average_spans([1, 2, 3], &[], &[whole]), Err(Error::ShapeMismatch { .. })));
}

#[test]
fn a_fully_cancelled_product_keeps_its_bias() {
    let first = AffineMap::linear(&[1.0, 1.0], [2, 1], Some(&[3.0, 1.0])).unwrap();
    let second = AffineMap::linear(&[1.0, -1.0], [1, 2], None).unwrap();
    let fused = first.fuse(&second).unwrap();
    assert_eq!((fused.nonzeros(), fused.bias()), (0, [2.0].as_slice()));
}

#[test]
fn edges_of_the_input() {
    // 1 x 1 input and kernel.
    let map = AffineMap::conv2d([1, 1, 1], &Conv2d::new(&[2.0], [1, 1, 1, 1])).unwrap();
    assert_eq!(map.apply(&[3.0]).unwrap(), [6.0]);
    // A kernel as large as the input, and a stride larger than what is left.
    let map = AffineMap::avg_pool2d([1, 2, 2], &Pool2d { kernel: [2, 2], stride: [9, 9], padding: [0, 0] }).unwrap();
    assert_eq!(map.apply(&[1.0, 2.0, 3.0, 6.0]).unwrap(), [3.0]);
    // A window that sees nothing but padding.
    let map = AffineMap::avg_pool1d([1, 1], &Pool1d { kernel: 1, stride: 1, padding: 1 }).unwrap();
    assert_eq!(map.apply(&[5.0]).unwrap(), [0.0, 5.0, 0.0]);
}

#[test]
fn what_does_not_fit_is_named() {
    let weights = [1.0; 9];
    let conv = Conv2d::new(&weights, [1, 1, 3, 3]);
    let shape = |result: Result<AffineMap>| match result {
        Err(Error::ShapeMismatch { operation, got, .. }) => (operation, got),
        other => panic!("{other:?}"),
    };
    assert_eq!(shape(AffineMap::conv2d([1, 2, 5], &conv)), ("conv2d", vec![2]));
    assert_eq!(shape(AffineMap::conv2d([2, 5, 5], &conv)), ("conv2d", vec![2, 5, 5]));
    assert_eq!(shape(AffineMap::conv2d([1, 5, 5], &Conv2d::new(&weights[1..], [1, 1, 3, 3]))), ("conv2d", vec![8]));
    assert_eq!(shape(AffineMap::conv2d([1, 5, 5], &Conv2d { bias: Some(&[1.0; 2]), ..conv })), ("conv2d", vec![2]));
    assert_eq!(shape(AffineMap::conv1d([1, 2], &Conv1d::new(&weights, [3, 1, 3]))), ("conv1d", vec![2]));
    assert_eq!(shape(AffineMap::linear(&weights, [2, 4], None)), ("linear", vec![9]));
    assert_eq!(shape(AffineMap::linear(&[], [0, 4], None)), ("linear", vec![0]));
    assert_eq!(shape(AffineMap::linear(&[], [4, 0], None)), ("linear", vec![0]));
    assert_eq!(shape(AffineMap::flatten(&[3, 0])), ("flatten", vec![3, 0]));
    assert_eq!(shape(AffineMap::conv2d([1, 5, 5], &Conv2d::new(&[], [0, 1, 3, 3]))), ("conv2d", vec![0, 3, 3]));
    assert_eq!(shape(AffineMap::conv2d([0, 5, 5], &Conv2d::new(&[], [1, 0, 3, 3]))), ("conv2d", vec![0, 5, 5]));
    let pool = Pool2d { kernel: [3, 3], stride: [1, 1], padding: [0, 0] };
    assert_eq!(shape(AffineMap::avg_pool2d([1, 3, 2], &pool)), ("avg_pool2d", vec![2]));
    assert_eq!(shape(AffineMap::avg_pool2d([0, 3, 3], &pool)), ("avg_pool2d", vec![0, 3, 3]));
    let map = AffineMap::identity(&[4]).unwrap();
    assert_eq!(shape(map.fuse(&AffineMap::identity(&[2, 2]).unwrap())), ("fuse", vec![2, 2]));
    assert!(matches!(map.apply(&[1.0; 5]), Err(Error::ShapeMismatch { .. })));

    let argument = |result: Result<AffineMap>| match result {
        Err(Error::InvalidArgument { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(argument(AffineMap::conv2d([1, 5, 5], &Conv2d { stride: [0, 1], ..conv })), "stride");
    assert_eq!(argument(AffineMap::conv2d([1, 5, 5], &Conv2d { dilation: [1, 0], ..conv })), "dilation");
    assert_eq!(argument(AffineMap::conv2d([1, 5, 5], &Conv2d { groups: 2, ..conv })), "groups");
    assert_eq!(argument(AffineMap::conv2d([1, 5, 5], &Conv2d { groups: 0, ..conv })), "groups");
    assert_eq!(argument(AffineMap::linear(&[f64::NAN], [1, 1], None)), "weights");
    assert_eq!(argument(AffineMap::linear(&[1.0], [1, 1], Some(&[f64::INFINITY]))), "bias");
    assert_eq!(argument(AffineMap::scale(&[1], f64::NAN)), "factor");
    let overflow = AffineMap::scale(&[1], 1e300).unwrap();
    assert_eq!(argument(overflow.fuse(&overflow)), "fused weights");
    assert_eq!(argument(AffineMap::batch_norm(&[1], &[1.0], &[1.0], &[1.0], &[0.0], 0.0)), "variance");
}

#[test]
fn absurd_sizes_are_refused_before_memory_is_asked_for() {
    let huge = usize::MAX / 4;
    let conv = Conv2d { padding: [huge, huge], ..Conv2d::new(&[1.0], [1, 1, 1, 1]) };
    assert!(matches!(AffineMap::conv2d([1, 1, 1], &conv), Err(Error::TooLarge { .. })));
    assert!(matches!(AffineMap::pad1d([1, 1], [huge, huge]), Err(Error::TooLarge { .. })));
    assert!(matches!(AffineMap::pad1d([1, 1], [usize::MAX, 1]), Err(Error::InvalidArgument { .. })));
    assert!(matches!(AffineMap::identity(&[huge, 2]), Err(Error::TooLarge { .. })));
    assert!(matches!(AffineMap::identity(&[usize::MAX, 2]), Err(Error::TooLarge { .. })));
}

#[test]
fn compressed_rows_are_checked() {
    let good = AffineMap::new(&[3], &[2], &[0, 2, 3], &[0, 2, 1], &[1.0, 0.0, 3.0], &[0.0, 1.0]).unwrap();
    assert_eq!(good.offsets(), [0, 1, 2]);
    assert_eq!(good.apply(&[1.0, 2.0, 3.0]).unwrap(), [1.0, 7.0]);
    assert!(AffineMap::new(&[3], &[2], &[0, 2, 1], &[0, 2, 1], &[1.0; 3], &[0.0; 2]).is_err());
    assert!(AffineMap::new(&[3], &[2], &[0, 2], &[0, 2], &[1.0; 2], &[0.0; 2]).is_err());
    assert!(AffineMap::new(&[3], &[1], &[0, 2], &[2, 0], &[1.0; 2], &[0.0]).is_err());
    assert!(AffineMap::new(&[3], &[1], &[0, 1], &[3], &[1.0], &[0.0]).is_err());
    assert!(AffineMap::new(&[3], &[1], &[0, 1], &[2], &[1.0], &[]).is_err());
}
