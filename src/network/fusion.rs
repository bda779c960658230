//! Which neighbouring affine maps of a network to multiply into one.

use super::affine::AffineMap;
use super::model::{Layer, Network, Operation, chain_shape};
use crate::error::Result;

/// When neighbouring affine maps fuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fusion {
    /// where that leaves fewer multiplications, or as many in fewer layers
    WhenCheaper,
    /// always: fewest layers
    Always,
}

/// The best way found to run the maps from one on to the last of their run.
struct Suffix {
    multiplications: usize,
    layers: usize,
    /// the first layer of it, fused
    head: Layer,
    /// where the run goes on
    next: usize,
}

/// Products with more than this many times the entries of all maps of the run are not tried.
const GROWTH_LIMIT: u64 = 8;

impl Network {
    /// The network with neighbouring affine maps fused; names are joined by `+`. A residual block whose branches are
    /// affine is an affine map too.
    ///
    /// # Errors
    /// As [`AffineMap::fuse`] and [`AffineMap::add`], but for shapes, which fit.
    pub fn fuse(&self, fusion: Fusion) -> Result<Network> {
        Network::new(self.input_shape(), fuse_chain(self.layers(), self.input_shape(), fusion)?)
    }

    /// Multiplications by weights that the affine maps of the network cost, in total.
    pub fn multiplications(&self) -> usize {
        multiplications(self.layers())
    }
}

fn multiplications(layers: &[Layer]) -> usize {
    let of_layer = |layer: &Layer| match &layer.operation {
        Operation::Affine(map) => map.multiplications(),
        Operation::Activation(_) => 0,
        Operation::Residual { body, shortcut } => multiplications(body) + multiplications(shortcut),
    };
    layers.iter().map(of_layer).sum()
}

fn fuse_chain(layers: &[Layer], input_shape: &[usize], fusion: Fusion) -> Result<Vec<Layer>> {
    let mut simple = Vec::with_capacity(layers.len());
    for (index, layer) in layers.iter().enumerate() {
        simple.push(match &layer.operation {
            Operation::Residual { body, shortcut } => {
                let shape = chain_shape(&layers[..index], input_shape);
                fuse_branches(&layer.name, body, shortcut, shape, fusion)?
            }
            _ => layer.clone(),
        });
    }
    let mut fused = Vec::new();
    let is_affine = |layer: &Layer| matches!(layer.operation, Operation::Affine(_));
    for run in simple.chunk_by(|left, right| is_affine(left) && is_affine(right)) {
        match (affine_maps(run), fusion) {
            (None, _) => fused.extend_from_slice(run),
            (Some(maps), Fusion::Always) => fused.push(fuse_all(&maps)?),
            (Some(maps), Fusion::WhenCheaper) => fused.extend(fuse_cheapest(&maps)?),
        }
    }
    Ok(fused)
}

/// The block with its branches fused, or its affine map where it is one.
fn fuse_branches(name: &str, body: &[Layer], shortcut: &[Layer], shape: &[usize], fusion: Fusion) -> Result<Layer> {
    let (body, shortcut) = (fuse_chain(body, shape, fusion)?, fuse_chain(shortcut, shape, fusion)?);
    let (Some(left), Some(right)) = (affine_maps(&body), affine_maps(&shortcut)) else {
        return Ok(Layer::residual(name, body, shortcut));
    };
    let product = |maps: &[(&str, &AffineMap)]| {
        maps.iter().try_fold(AffineMap::identity(shape)?, |product, (_, map)| product.fuse(map))
    };
    Ok(Layer::affine(name, product(&left)?.add(&product(&right)?)?))
}

/// The maps of a chain and their names, where there is nothing else in it.
fn affine_maps(layers: &[Layer]) -> Option<Vec<(&str, &AffineMap)>> {
    let mut maps = Vec::with_capacity(layers.len());
    for layer in layers {
        let Operation::Affine(map) = &layer.operation else { return None };
        maps.push((layer.name.as_str(), map));
    }
    Some(maps)
}

fn fuse_all(maps: &[(&str, &AffineMap)]) -> Result<Layer> {
    let (name, first) = maps[0];
    let mut product = Layer::affine(name, first.clone());
    for (name, next) in &maps[1..] {
        product = extend(product, name, next)?;
    }
    Ok(product)
}

/// Every way to cut the run into blocks, by dynamic programming from its end.
fn fuse_cheapest(maps: &[(&str, &AffineMap)]) -> Result<Vec<Layer>> {
    let entries: u64 = maps.iter().map(|(_, map)| map.nonzeros() as u64).sum();
    let mut suffixes: Vec<Option<Suffix>> = Vec::new();
    suffixes.resize_with(maps.len() + 1, || None);
    for start in (0..maps.len()).rev() {
        let mut head = Layer::affine(maps[start].0, maps[start].1.clone());
        for next in start + 1..=maps.len() {
            let Operation::Affine(map) = &head.operation else { break };
            let rest = suffixes[next].as_ref().map_or((0, 0), |rest| (rest.multiplications, rest.layers));
            let cost = (map.multiplications() + rest.0, 1 + rest.1);
            if suffixes[start].as_ref().is_none_or(|best| cost < (best.multiplications, best.layers)) {
                let head = head.clone();
                suffixes[start] = Some(Suffix { multiplications: cost.0, layers: cost.1, head, next });
            }
            let Some((name, map_next)) = maps.get(next) else { break };
            if map.fused_entries_bound(map_next) > GROWTH_LIMIT.saturating_mul(entries) {
                break;
            }
            head = extend(head, name, map_next)?;
        }
    }
    let mut layers = Vec::new();
    let mut place = 0;
    while let Some(suffix) = suffixes[place].take() {
        layers.push(suffix.head);
        place = suffix.next;
    }
    Ok(layers)
}

fn extend(layer: Layer, name: &str, next: &AffineMap) -> Result<Layer> {
    let Layer { name: first, operation } = layer;
    let product = match operation {
        Operation::Affine(map) => map.fuse(next)?,
        _ => next.clone(),
    };
    Ok(Layer::affine(format!("{first}+{name}"), product))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Activation, Conv2d, Pool2d};

    fn names(network: &Network) -> Vec<&str> {
        network.layers().iter().map(|layer| layer.name.as_str()).collect()
    }

    fn weights(count: usize) -> Vec<f64> {
        (0..count).map(|i| ((i * 37) % 23) as f64 / 8.0 - 1.25 + 1.0 / 64.0).collect()
    }

    /// The paper's 6-layer network, which has no activation.
    fn six_layers() -> Network {
        let (conv1, conv2, linear1, linear2) = (weights(72), weights(16 * 72), weights(16 * 64), weights(160));
        let maps = [
            ("conv1", AffineMap::conv2d([1, 28, 28], &Conv2d::new(&conv1, [8, 1, 3, 3])).unwrap()),
            (
                "pool1",
                AffineMap::avg_pool2d([8, 26, 26], &Pool2d { kernel: [2, 2], stride: [3, 3], padding: [0, 0] })
                    .unwrap(),
            ),
            (
                "conv2",
                AffineMap::conv2d([8, 9, 9], &Conv2d { stride: [2, 2], ..Conv2d::new(&conv2, [16, 8, 3, 3]) }).unwrap(),
            ),
            (
                "pool2",
                AffineMap::avg_pool2d([16, 4, 4], &Pool2d { kernel: [2, 2], stride: [2, 2], padding: [0, 0] }).unwrap(),
            ),
            ("flatten", AffineMap::flatten(&[16, 2, 2]).unwrap()),
            ("linear1", AffineMap::linear(&linear1, [16, 64], None).unwrap()),
            ("linear2", AffineMap::linear(&linear2, [10, 16], Some(&weights(10))).unwrap()),
        ];
        Network::new(&[1, 28, 28], maps.map(|(name, map)| Layer::affine(name, map)).to_vec()).unwrap()
    }

    #[test]
    fn a_network_without_activation_is_one_matrix() {
        let network = six_layers();
        for fusion in [Fusion::WhenCheaper, Fusion::Always] {
            let fused = network.fuse(fusion).unwrap();
            assert_eq!(names(&fused), ["conv1+pool1+conv2+pool2+flatten+linear1+linear2"]);
            assert!(fused.multiplications() <= 7840);
            let image: Vec<f64> = (0..784).map(|i| ((i * 13) % 256) as f64 / 255.0).collect();
            let (expected, got) = (network.evaluate(&image).unwrap(), fused.evaluate(&image).unwrap());
            for (a, b) in expected.iter().zip(&got) {
                assert!((a - b).abs() <= 1e-9 * a.abs(), "{a} {b}");
            }
        }
    }

    #[test]
    fn expensive_products_stay_apart_unless_asked_for() {
        // 64 -> 2 -> 64 as one matrix costs 4096 products, apart 256.
        let narrow = AffineMap::linear(&weights(128), [2, 64], None).unwrap();
        let wide = AffineMap::linear(&weights(128), [64, 2], None).unwrap();
        let layers = vec![
            Layer::affine("scale", AffineMap::scale(&[64], 3.0).unwrap()),
            Layer::affine("narrow", narrow),
            Layer::affine("wide", wide),
            Layer::activation("square", Activation::Square),
            Layer::affine("flatten", AffineMap::flatten(&[64]).unwrap()),
        ];
        let network = Network::new(&[64], layers).unwrap();
        let cheapest = network.fuse(Fusion::WhenCheaper).unwrap();
        assert_eq!(names(&cheapest), ["scale+narrow", "wide", "square", "flatten"]);
        assert_eq!(cheapest.multiplications(), 256);
        let shortest = network.fuse(Fusion::Always).unwrap();
        assert_eq!(names(&shortest), ["scale+narrow+wide", "square", "flatten"]);
    }

    #[test]
    fn a_residual_block_without_activations_is_one_matrix() {
        let scale = |factor| Layer::affine("scale", AffineMap::scale(&[2], factor).unwrap());
        let inner = Layer::residual("inner", vec![scale(2.0), scale(3.0)], vec![]);
        let outer = Layer::residual("outer", vec![inner], vec![scale(-1.0)]);
        let network = Network::new(&[2], vec![scale(0.5), outer.clone()]).unwrap();
        assert_eq!(network.multiplications(), 8);
        for fusion in [Fusion::WhenCheaper, Fusion::Always] {
            let fused = network.fuse(fusion).unwrap();
            assert_eq!(fused.layers(), [Layer::affine("scale+outer", AffineMap::scale(&[2], 3.0).unwrap())]);
        }

        let square = Layer::activation("square", Activation::Square);
        let block = Layer::residual("block", vec![scale(2.0), scale(3.0), square.clone()], vec![outer]);
        let fused = Network::new(&[2], vec![block]).unwrap().fuse(Fusion::Always).unwrap();
        let body = vec![Layer::affine("scale+scale", AffineMap::scale(&[2], 6.0).unwrap()), square];
        let shortcut = vec![Layer::affine("outer", AffineMap::scale(&[2], 6.0).unwrap())];
        assert_eq!(fused.layers(), [Layer::residual("block", body, shortcut)]);
    }
}
