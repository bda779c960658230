//! Networks in normal form: affine maps with squares between them.

use crate::error::{Error, Result};
use crate::network::{Activation, AffineMap, Network, Operation};

/// A network as `maps[0]`, square, `maps[1]`, square, ..., the last map.
///
/// Neighbouring affine maps are multiplied, and a quadratic activation is
/// `a x^2 + b x + c = a (x + b / 2a)^2 + c - b^2 / 4a`: a square between two affine maps, which fuse
/// with their neighbours.
///
/// # Errors
/// [`Error::Unsupported`] for activations of a degree above 2.
pub fn alternation(network: &Network) -> Result<Vec<AffineMap>> {
    let mut maps = Vec::new();
    let mut current = AffineMap::identity(network.input_shape())?;
    for layer in network.layers() {
        match &layer.operation {
            Operation::Affine(map) => current = current.fuse(map)?,
            Operation::Activation(activation) => {
                let (before, after) = around_square(&layer.name, activation, current.output_shape())?;
                if let Some(before) = before {
                    current = current.fuse(&before)?;
                }
                maps.push(std::mem::replace(&mut current, after));
            }
            Operation::Residual { .. } => {
                return Err(Error::Unsupported {
                    operation: "compiling",
                    reason: format!("layer {} is a residual block", layer.name),
                });
            }
        }
    }
    maps.push(current);
    Ok(maps)
}

/// The affine maps before and after the square that an activation is.
fn around_square(name: &str, activation: &Activation, shape: &[usize]) -> Result<(Option<AffineMap>, AffineMap)> {
    let coefficients = match activation {
        Activation::Square => return Ok((None, AffineMap::identity(shape)?)),
        Activation::Polynomial(coefficients) => coefficients,
    };
    let &[c, b, a] = coefficients.as_slice() else {
        return Err(Error::Unsupported {
            operation: "compiling",
            reason: format!(
                "layer {name} is a polynomial of degree {}; this layout takes squares and polynomials of degree 2",
                activation.degree()
            ),
        });
    };
    let shift = shifted(AffineMap::identity(shape)?, b / (2.0 * a))?;
    let after = shifted(AffineMap::scale(shape, a)?, c - b * b / (4.0 * a))?;
    Ok((Some(shift), after))
}

/// The map with a constant added to each output.
fn shifted(map: AffineMap, constant: f64) -> Result<AffineMap> {
    let bias: Vec<f64> = map.bias().iter().map(|bias| bias + constant).collect();
    AffineMap::new(map.input_shape(), map.output_shape(), map.offsets(), map.columns(), map.weights(), &bias)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Layer;

    #[test]
    fn a_quadratic_activation_becomes_a_square() {
        let linear = AffineMap::linear(&[0.5, -1.0, 2.0, 0.25], [2, 2], Some(&[0.1, -0.2])).unwrap();
        let quadratic = Activation::polynomial(&[0.3, -0.7, 0.2]).unwrap();
        let network = Network::new(
            &[2],
            vec![
                Layer::affine("first", linear.clone()),
                Layer::activation("quadratic", quadratic),
                Layer::affine("second", linear.clone()),
                Layer::activation("square", Activation::Square),
                Layer::affine("third", linear),
            ],
        )
        .unwrap();
        let maps = alternation(&network).unwrap();
        assert_eq!(maps.len(), 3);
        let input = [0.4, -1.3];
        let mut values = maps[0].apply(&input).unwrap();
        for map in &maps[1..] {
            values.iter_mut().for_each(|value| *value *= *value);
            values = map.apply(&values).unwrap();
        }
        for (value, expected) in values.iter().zip(network.evaluate(&input).unwrap()) {
            assert!((value - expected).abs() < 1e-12, "{value} {expected}");
        }
    }

    #[test]
    fn a_cubic_activation_is_refused_by_name() {
        let cubic = Layer::activation("cubic", Activation::polynomial(&[0.0, 0.0, 0.0, 1.0]).unwrap());
        let error = alternation(&Network::new(&[1], vec![cubic]).unwrap()).unwrap_err();
        assert_eq!(error.code(), "unsupported");
        assert!(error.to_string().contains("cubic"));
    }
}
