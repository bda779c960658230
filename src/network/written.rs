//! Networks as they are written to files, and checked when they are read.

use serde::{Deserialize, Serialize};

use super::activation::Activation;
use super::affine::AffineMap;
use super::model::{Layer, MAX_NESTING, Network, Operation};
use crate::error::{Error, Result};

/// [`AffineMap`] as it is written.
#[derive(Deserialize)]
pub(super) struct WrittenMap {
    input_shape: Vec<usize>,
    output_shape: Vec<usize>,
    offsets: Vec<usize>,
    columns: Vec<u32>,
    weights: Vec<f64>,
    bias: Vec<f64>,
}

impl TryFrom<WrittenMap> for AffineMap {
    type Error = Error;

    fn try_from(map: WrittenMap) -> Result<Self> {
        Self::new(&map.input_shape, &map.output_shape, &map.offsets, &map.columns, &map.weights, &map.bias)
    }
}

/// [`Network`] as it is written: a block's layers stand behind it, so that reading takes no deeper stack than a chain.
#[derive(Serialize, Deserialize)]
pub(super) struct WrittenNetwork {
    input_shape: Vec<usize>,
    layers: Vec<(String, WrittenOperation)>,
}

#[derive(Serialize, Deserialize)]
enum WrittenOperation {
    Affine(AffineMap),
    Polynomial(Vec<f64>),
    /// how many layers the body and the shortcut have, those inside of blocks not counted
    Residual([usize; 2]),
}

const SQUARE: [f64; 3] = [0.0, 0.0, 1.0];

impl From<Network> for WrittenNetwork {
    fn from(network: Network) -> Self {
        let mut layers = Vec::new();
        write(network.layers(), &mut layers);
        Self { input_shape: network.input_shape().to_vec(), layers }
    }
}

fn write(chain: &[Layer], written: &mut Vec<(String, WrittenOperation)>) {
    for layer in chain {
        let operation = match &layer.operation {
            Operation::Affine(map) => WrittenOperation::Affine(map.clone()),
            Operation::Activation(Activation::Square) => WrittenOperation::Polynomial(SQUARE.to_vec()),
            Operation::Activation(Activation::Polynomial(coefficients)) => {
                WrittenOperation::Polynomial(coefficients.clone())
            }
            Operation::Residual { body, shortcut } => WrittenOperation::Residual([body.len(), shortcut.len()]),
        };
        written.push((layer.name.clone(), operation));
        if let Operation::Residual { body, shortcut } = &layer.operation {
            write(body, written);
            write(shortcut, written);
        }
    }
}

impl TryFrom<WrittenNetwork> for Network {
    type Error = Error;

    fn try_from(written: WrittenNetwork) -> Result<Self> {
        let mut rest = written.layers.into_iter();
        let mut layers = Vec::new();
        while rest.len() > 0 {
            layers.extend(read(&mut rest, 1, 0)?);
        }
        Self::new(&written.input_shape, layers)
    }
}

/// The next `count` layers of a chain around which `nesting` blocks stand.
fn read(
    written: &mut impl Iterator<Item = (String, WrittenOperation)>,
    count: usize,
    nesting: usize,
) -> Result<Vec<Layer>> {
    let refused = |reason: String| Error::InvalidArgument { name: "layers", reason };
    let mut layers = Vec::new();
    for _ in 0..count {
        let (name, operation) = written.next().ok_or_else(|| refused("a residual block is cut off".into()))?;
        layers.push(match operation {
            WrittenOperation::Affine(map) => Layer::affine(name, map),
            WrittenOperation::Polynomial(coefficients) if coefficients == SQUARE => {
                Layer::activation(name, Activation::Square)
            }
            WrittenOperation::Polynomial(coefficients) => {
                Layer::activation(name, Activation::polynomial(&coefficients)?)
            }
            WrittenOperation::Residual(_) if nesting >= MAX_NESTING => {
                return Err(refused(format!("residual blocks stand more than {MAX_NESTING} deep in one another")));
            }
            WrittenOperation::Residual([body, shortcut]) => {
                let body = read(written, body, nesting + 1)?;
                Layer::residual(name, body, read(written, shortcut, nesting + 1)?)
            }
        });
    }
    Ok(layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Network {
        let map = |weight: f64| AffineMap::linear(&[weight, 0.0, 1.0, -0.5], [2, 2], Some(&[0.25, 0.0])).unwrap();
        let inner = Layer::residual("inner", vec![Layer::affine("a", map(2.0))], vec![]);
        let body = vec![inner, Layer::activation("square", Activation::Square)];
        let layers = vec![
            Layer::residual("outer", body, vec![Layer::affine("b", map(3.0))]),
            Layer::activation("cubic", Activation::polynomial(&[0.5, 0.0, 0.0, 1.0]).unwrap()),
        ];
        Network::new(&[2], layers).unwrap()
    }

    #[test]
    fn networks_come_back_the_same() {
        let bytes = postcard::to_allocvec(&network()).unwrap();
        assert_eq!(postcard::from_bytes::<Network>(&bytes).unwrap(), network());
    }

    #[test]
    fn written_networks_that_are_none_are_refused() {
        let mut written = WrittenNetwork::from(network());
        written.layers.pop();
        written.layers.pop();
        assert!(Network::try_from(written).unwrap_err().to_string().contains("cut off"));
        let deep = (0..1 << 20).map(|_| ("block".to_owned(), WrittenOperation::Residual([1, 0]))).collect();
        let deep = WrittenNetwork { input_shape: vec![2], layers: deep };
        assert!(Network::try_from(deep).unwrap_err().to_string().contains("deep in one another"));
    }
}
