//! Networks as chains of layers and residual blocks, evaluated in double precision.

use std::ops::Range;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::activation::Activation;
use super::affine::AffineMap;
use super::written::WrittenNetwork;
use crate::error::{Error, Result};

/// What a layer does.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// a sparse matrix and a bias
    Affine(AffineMap),
    /// a polynomial of every value
    Activation(Activation),
    /// `body(x) + shortcut(x)`; a branch without layers is the identity
    Residual {
        /// the branch that does the work
        body: Vec<Layer>,
        /// the branch that goes around it
        shortcut: Vec<Layer>,
    },
}

/// A layer and its name, which error messages and reports use.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// free text, such as `conv1`
    pub name: String,
    /// what the layer does
    pub operation: Operation,
}

impl Layer {
    /// A layer that applies an affine map.
    pub fn affine(name: impl Into<String>, map: AffineMap) -> Self {
        Self { name: name.into(), operation: Operation::Affine(map) }
    }

    /// A layer that applies a polynomial to every value.
    pub fn activation(name: impl Into<String>, activation: Activation) -> Self {
        Self { name: name.into(), operation: Operation::Activation(activation) }
    }

    /// A layer that gives `body(x) + shortcut(x)`; a branch without layers is the identity.
    pub fn residual(name: impl Into<String>, body: Vec<Layer>, shortcut: Vec<Layer>) -> Self {
        Self { name: name.into(), operation: Operation::Residual { body, shortcut } }
    }

    /// The shape of what the layer gives for a tensor of `input_shape`.
    fn output_shape<'a>(&'a self, input_shape: &'a [usize]) -> &'a [usize] {
        match &self.operation {
            Operation::Affine(map) => map.output_shape(),
            Operation::Activation(_) => input_shape,
            Operation::Residual { body, .. } => chain_shape(body, input_shape),
        }
    }

    pub(super) fn evaluate(&self, input: Vec<f64>) -> Result<Vec<f64>> {
        match &self.operation {
            Operation::Affine(map) => map.apply(&input),
            Operation::Activation(activation) => {
                let mut values = input;
                values.iter_mut().for_each(|value| *value = activation.evaluate(*value));
                Ok(values)
            }
            Operation::Residual { body, shortcut } => {
                let mut sum = evaluate_chain(body, input.clone())?;
                add(&mut sum, &evaluate_chain(shortcut, input)?);
                Ok(sum)
            }
        }
    }
}

/// How deep residual blocks may stand in one another.
pub const MAX_NESTING: usize = 16;

/// The shape of what a chain gives for a tensor of `input_shape`.
pub(super) fn chain_shape<'a>(layers: &'a [Layer], input_shape: &'a [usize]) -> &'a [usize] {
    layers.iter().fold(input_shape, |shape, layer| layer.output_shape(shape))
}

fn evaluate_chain(layers: &[Layer], input: Vec<f64>) -> Result<Vec<f64>> {
    layers.iter().try_fold(input, |values, layer| layer.evaluate(values))
}

pub(super) fn add(sum: &mut [f64], values: &[f64]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

/// Refuses layers of which one does not take what the layer before it gives; `nesting` blocks stand around them.
fn check_chain(layers: &[Layer], input_shape: &[usize], nesting: usize) -> Result<()> {
    if nesting > MAX_NESTING {
        let reason = format!("residual blocks stand more than {MAX_NESTING} deep in one another; unfold some of them");
        return Err(Error::InvalidArgument { name: "layers", reason });
    }
    let mut shape = input_shape;
    for (index, layer) in layers.iter().enumerate() {
        match &layer.operation {
            Operation::Affine(map) if map.input_shape() != shape => {
                return Err(Error::ShapeMismatch {
                    operation: "network",
                    expected: format!("{:?}, which layer {index} ({}) takes", map.input_shape(), layer.name),
                    got: shape.to_vec(),
                });
            }
            Operation::Affine(_) => {}
            Operation::Activation(activation) => activation.check()?,
            Operation::Residual { body, shortcut } => {
                check_chain(body, shape, nesting + 1)?;
                check_chain(shortcut, shape, nesting + 1)?;
                let (sum, added) = (chain_shape(body, shape), chain_shape(shortcut, shape));
                if sum != added {
                    return Err(Error::ShapeMismatch {
                        operation: "network",
                        expected: format!(
                            "{sum:?} from the shortcut of layer {index} ({}), as from its body",
                            layer.name
                        ),
                        got: added.to_vec(),
                    });
                }
            }
        }
        shape = layer.output_shape(shape);
    }
    Ok(())
}

/// A chain of layers whose shapes fit together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WrittenNetwork", into = "WrittenNetwork")]
pub struct Network {
    input_shape: Vec<usize>,
    layers: Vec<Layer>,
}

impl Network {
    /// A network that takes one tensor of `input_shape` (no batch dimension) an image.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where an affine map does not take what the layer before it gives, or the branches of a
    /// residual block give different shapes; [`Error::InvalidArgument`] where there is no layer, an activation is not a
    /// polynomial of degree 2 or more, or blocks stand more than [`MAX_NESTING`] deep in one another.
    pub fn new(input_shape: &[usize], layers: Vec<Layer>) -> Result<Self> {
        if layers.is_empty() {
            return Err(Error::InvalidArgument { name: "layers", reason: "a network needs at least one layer".into() });
        }
        if input_shape.contains(&0) {
            return Err(Error::ShapeMismatch {
                operation: "network",
                expected: "no axis of length 0".into(),
                got: input_shape.to_vec(),
            });
        }
        check_chain(&layers, input_shape, 0)?;
        Ok(Self { input_shape: input_shape.to_vec(), layers })
    }

    /// The shape of one image.
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// The number of values of one image.
    pub fn inputs(&self) -> usize {
        self.input_shape.iter().product()
    }

    /// The shape of one answer.
    pub fn output_shape(&self) -> &[usize] {
        chain_shape(&self.layers, &self.input_shape)
    }

    /// The number of values of one answer.
    pub fn outputs(&self) -> usize {
        self.output_shape().iter().product()
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The shape of the output of each layer.
    pub fn layer_shapes(&self) -> Vec<&[usize]> {
        let mut shape = self.input_shape.as_slice();
        self.layers
            .iter()
            .map(|layer| {
                shape = layer.output_shape(shape);
                shape
            })
            .collect()
    }

    /// The network that consists of some consecutive layers of this one: recall of a part, for transfer learning.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the range is empty or reaches past the last layer.
    pub fn slice(&self, range: Range<usize>) -> Result<Self> {
        let Some(layers) = self.layers.get(range.clone()).filter(|layers| !layers.is_empty()) else {
            return Err(Error::InvalidArgument {
                name: "layers",
                reason: format!("{range:?} is not a range of layers within 0..{}", self.layers.len()),
            });
        };
        Self::new(chain_shape(&self.layers[..range.start], &self.input_shape), layers.to_vec())
    }

    /// The answers for images, one after the other, in double precision; images in parallel on the current rayon pool.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the length is not a multiple of an image's; [`Error::Unencodable`] where a value
    /// is not finite.
    pub fn evaluate(&self, images: &[f64]) -> Result<Vec<f64>> {
        self.check_images(images)?;
        let answers: Result<Vec<Vec<f64>>> =
            images.par_chunks(self.inputs()).map(|image| evaluate_chain(&self.layers, image.to_vec())).collect();
        Ok(answers?.concat())
    }

    /// The output of every layer; each holds that layer's tensors of all images, one after the other.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn trace(&self, images: &[f64]) -> Result<Vec<Vec<f64>>> {
        self.check_images(images)?;
        let mut outputs: Vec<Vec<f64>> = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let input = outputs.last().map_or(images, |output| output);
            outputs.push(layer.evaluate(input.to_vec())?);
        }
        Ok(outputs)
    }

    /// Refuses images of another length, and values that are not finite.
    pub(super) fn check_images(&self, images: &[f64]) -> Result<()> {
        if !images.len().is_multiple_of(self.inputs()) {
            return Err(Error::ShapeMismatch {
                operation: "network",
                expected: format!("images of shape {:?}, {} values each", self.input_shape, self.inputs()),
                got: vec![images.len()],
            });
        }
        match images.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(index) => Err(Error::Unencodable {
                value: images[index],
                index,
                reason: "an image must consist of finite numbers; clean the data first".into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Conv2d, Pool2d};

    fn network() -> Network {
        let conv = AffineMap::conv2d([1, 4, 4], &Conv2d::new(&[1.0, -1.0, 0.5, 2.0], [1, 1, 2, 2])).unwrap();
        let pool = Pool2d { kernel: [3, 3], stride: [1, 1], padding: [0, 0] };
        let pool = AffineMap::avg_pool2d([1, 3, 3], &pool).unwrap();
        let flatten = AffineMap::flatten(&[1, 1, 1]).unwrap();
        let linear = AffineMap::linear(&[9.0, -9.0], [2, 1], Some(&[1.0, 0.0])).unwrap();
        Network::new(
            &[1, 4, 4],
            vec![
                Layer::affine("conv", conv),
                Layer::activation("square", Activation::Square),
                Layer::affine("pool", pool),
                Layer::affine("flatten", flatten),
                Layer::affine("linear", linear),
            ],
        )
        .unwrap()
    }

    /// Two images: of ones, and of twos.
    fn images() -> Vec<f64> {
        [[1.0; 16], [2.0; 16]].concat()
    }

    #[test]
    fn evaluation_follows_the_layers() {
        let network = network();
        assert_eq!(network.output_shape(), [2]);
        let answers = network.evaluate(&images()).unwrap();
        for (got, expected) in answers.iter().zip([57.25, -56.25, 226.0, -225.0]) {
            assert!((got - expected).abs() < 1e-9, "{answers:?}");
        }
        let trace = network.trace(&images()).unwrap();
        assert_eq!(trace.iter().map(Vec::len).collect::<Vec<_>>(), [18, 18, 2, 2, 4]);
        assert_eq!(trace[0][9], 5.0);
        assert_eq!(trace[4], answers);
    }

    #[test]
    fn a_slice_is_a_network() {
        let network = network();
        let (head, tail) = (network.slice(0..2).unwrap(), network.slice(2..5).unwrap());
        assert_eq!(tail.input_shape(), [1, 3, 3]);
        let stepwise = tail.evaluate(&head.evaluate(&images()).unwrap()).unwrap();
        assert_eq!(stepwise, network.evaluate(&images()).unwrap());
        for range in [3..3, 4..6, 7..9] {
            assert!(matches!(network.slice(range), Err(Error::InvalidArgument { name: "layers", .. })));
        }
    }

    /// The sum of x^2 and 2 x, as a block within a block that adds x.
    fn nested() -> Vec<Layer> {
        let inner = Layer::residual(
            "inner",
            vec![Layer::activation("square", Activation::Square)],
            vec![Layer::affine("twice", AffineMap::scale(&[2], 2.0).unwrap())],
        );
        vec![Layer::residual("outer", vec![inner], vec![])]
    }

    #[test]
    fn residual_blocks_add_their_branches() {
        let network = Network::new(&[2], nested()).unwrap();
        assert_eq!(network.output_shape(), [2]);
        assert_eq!(network.evaluate(&[1.0, -2.0, 0.5, 3.0]).unwrap(), [4.0, -2.0, 1.75, 18.0]);
        assert_eq!(network.trace(&[1.0, -2.0, 0.5, 3.0]).unwrap(), [[4.0, -2.0, 1.75, 18.0]]);
        assert_eq!(network.slice(0..1).unwrap(), network);
    }

    #[test]
    fn branches_that_do_not_meet_are_named() {
        let short = vec![Layer::affine("linear", AffineMap::linear(&[1.0, 1.0], [1, 2], None).unwrap())];
        let error = Network::new(&[2], vec![Layer::residual("block", vec![], short.clone())]).unwrap_err();
        assert!(matches!(error, Error::ShapeMismatch { .. }), "{error}");
        assert!(error.to_string().contains("shortcut of layer 0 (block)"), "{error}");
        let inside = vec![Layer::residual("block", [nested(), short].concat(), vec![])];
        assert!(Network::new(&[2], inside).is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        let deeper = |layers| vec![Layer::residual("block", layers, vec![])];
        let deepest = (0..MAX_NESTING).fold(vec![], |layers, _| deeper(layers));
        assert!(Network::new(&[2], deepest.clone()).is_ok());
        let error = Network::new(&[2], deeper(deepest)).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { name: "layers", .. }), "{error}");
    }

    #[test]
    fn layers_that_do_not_fit_are_named() {
        let layers = vec![
            Layer::activation("square", Activation::Square),
            Layer::affine("linear", AffineMap::identity(&[4]).unwrap()),
        ];
        let error = Network::new(&[1, 2, 2], layers).unwrap_err();
        assert!(error.to_string().contains("layer 1 (linear)"), "{error}");
        assert!(Network::new(&[1], vec![]).is_err());
        let constant = Layer::activation("constant", Activation::Polynomial(vec![1.0]));
        assert!(Network::new(&[1], vec![constant]).is_err());
    }

    #[test]
    fn bad_images_are_refused() {
        assert!(matches!(network().evaluate(&[1.0; 17]), Err(Error::ShapeMismatch { .. })));
        let mut images = images();
        images[20] = f64::NAN;
        assert!(matches!(network().trace(&images), Err(Error::Unencodable { index: 20, .. })));
    }
}
