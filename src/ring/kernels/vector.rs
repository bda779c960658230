//! The pointwise kernels that every vector backend has in the same form.
//!
//! Target features cannot be generic parameters, so a macro writes the kernels once for each
//! instruction set. It expects `Arithmetic`, `load` and `store` of that backend in scope, and gives
//! each kernel the name and the arguments of its portable oracle.

/// The residues of a stretch, for which partial sums stay in the L1 cache.
pub(super) const STRETCH: usize = 1024;

macro_rules! vector_kernels {
    ($features:literal, $modulus:ty, $vector:ty, $lanes:literal) => {
        /// Replaces each element of `out` by f(it, those of the inputs), a vector at a time.
        #[inline]
        #[target_feature(enable = $features)]
        fn update<const K: usize>(out: &mut [u64], inputs: [&[u64]; K], f: impl Fn($vector, [$vector; K]) -> $vector) {
            let (blocks, tail) = out.as_chunks_mut::<$lanes>();
            let ins = inputs.map(|input| &input.as_chunks::<$lanes>().0[..blocks.len()]);
            for (i, block) in blocks.iter_mut().enumerate() {
                let result = f(load(block), ins.map(|x| load(&x[i])));
                store(block, result);
            }
            if !tail.is_empty() {
                let padded = |x: &[u64]| {
                    let mut lanes = [0; $lanes];
                    lanes[..x.len()].copy_from_slice(x);
                    load(&lanes)
                };
                let result = f(padded(tail), inputs.map(|input| padded(input.as_chunks::<$lanes>().1)));
                let mut lanes = [0; $lanes];
                store(&mut lanes, result);
                tail.copy_from_slice(&lanes[..tail.len()]);
            }
        }

        #[target_feature(enable = $features)]
        pub(super) fn add(q: &$modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
            let m = Arithmetic::new(q);
            update(out, [a, b], |_, [a, b]| m.add(a, b));
        }

        #[target_feature(enable = $features)]
        pub(super) fn add_assign(q: &$modulus, a: &mut [u64], b: &[u64]) {
            let m = Arithmetic::new(q);
            update(a, [b], |a, [b]| m.add(a, b));
        }

        #[target_feature(enable = $features)]
        pub(super) fn add_scalar_assign(q: &$modulus, a: &mut [u64], scalar: u64) {
            let (m, scalar) = (Arithmetic::new(q), load(&[scalar; $lanes]));
            update(a, [], |a, []| m.add(a, scalar));
        }

        #[target_feature(enable = $features)]
        pub(super) fn sub(q: &$modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
            let m = Arithmetic::new(q);
            update(out, [a, b], |_, [a, b]| m.sub(a, b));
        }

        #[target_feature(enable = $features)]
        pub(super) fn sub_assign(q: &$modulus, a: &mut [u64], b: &[u64]) {
            let m = Arithmetic::new(q);
            update(a, [b], |a, [b]| m.sub(a, b));
        }

        #[target_feature(enable = $features)]
        pub(super) fn negate(q: &$modulus, out: &mut [u64], a: &[u64]) {
            let m = Arithmetic::new(q);
            update(out, [a], |_, [a]| m.negate(a));
        }

        #[target_feature(enable = $features)]
        pub(super) fn negate_assign(q: &$modulus, a: &mut [u64]) {
            let m = Arithmetic::new(q);
            update(a, [], |a, []| m.negate(a));
        }

        #[target_feature(enable = $features)]
        pub(super) fn mul(q: &$modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
            let m = Arithmetic::new(q);
            update(out, [a, b], |_, [a, b]| m.mul(a, b));
        }

        #[target_feature(enable = $features)]
        pub(super) fn mul_assign(q: &$modulus, a: &mut [u64], b: &[u64]) {
            let m = Arithmetic::new(q);
            update(a, [b], |a, [b]| m.mul(a, b));
        }

        #[target_feature(enable = $features)]
        pub(super) fn mul_add(q: &$modulus, sum: &mut [u64], a: &[u64], b: &[u64]) {
            let m = Arithmetic::new(q);
            update(sum, [a, b], |sum, [a, b]| m.mul_add(a, b, sum));
        }

        #[target_feature(enable = $features)]
        pub(super) fn mul_scalar(q: &$modulus, out: &mut [u64], a: &[u64], scalar: u64) {
            let m = Arithmetic::new(q);
            let scalar = m.constant(q, scalar);
            update(out, [a], |_, [a]| m.mul_constant(a, scalar));
        }

        #[target_feature(enable = $features)]
        pub(super) fn mul_scalar_assign(q: &$modulus, a: &mut [u64], scalar: u64) {
            let m = Arithmetic::new(q);
            let scalar = m.constant(q, scalar);
            update(a, [], |a, []| m.mul_constant(a, scalar));
        }

        #[target_feature(enable = $features)]
        pub(super) fn mul_scalar_add(q: &$modulus, sum: &mut [u64], a: &[u64], scalar: u64) {
            let m = Arithmetic::new(q);
            let scalar = m.constant(q, scalar);
            update(sum, [a], |sum, [a]| m.add(sum, m.mul_constant(a, scalar)));
        }

        #[target_feature(enable = $features)]
        pub(super) fn reduce(q: &$modulus, out: &mut [u64], a: &[u64]) {
            let m = Arithmetic::new(q);
            update(out, [a], |_, [a]| m.reduce(a));
        }

        #[target_feature(enable = $features)]
        pub(super) fn square(q: &$modulus, [out0, out1, out2]: [&mut [u64]; 3], [c0, c1]: [&[u64]; 2]) {
            let m = Arithmetic::new(q);
            update(out0, [c0], |_, [a]| m.mul(a, a));
            update(out1, [c0, c1], |_, [a, b]| {
                let cross = m.mul(a, b);
                m.add(cross, cross)
            });
            update(out2, [c1], |_, [b]| m.mul(b, b));
        }

        #[target_feature(enable = $features)]
        pub(super) fn tensor(
            q: &$modulus,
            [out0, out1, out2]: [&mut [u64]; 3],
            [a0, a1]: [&[u64]; 2],
            [b0, b1]: [&[u64]; 2],
        ) {
            let m = Arithmetic::new(q);
            update(out0, [a0, b0], |_, [a0, b0]| m.mul(a0, b0));
            update(out1, [a0, a1, b0, b1], |_, [a0, a1, b0, b1]| m.mul_add(a0, b1, m.mul(a1, b0)));
            update(out2, [a1, b1], |_, [a1, b1]| m.mul(a1, b1));
        }

        #[target_feature(enable = $features)]
        pub(super) fn sub_mul_scalar_assign(q: &$modulus, c: &mut [u64], t: &[u64], factor: u64) {
            let m = Arithmetic::new(q);
            let factor = m.constant(q, factor);
            update(c, [t], |c, [t]| m.mul_constant(m.sub(c, t), factor));
        }

        /// See [`Kernels::inner_products`](super::Kernels::inner_products): blocks of two vectors, the
        /// last one padded with zeros.
        ///
        /// Rows of a power of two of bytes share their places in the caches, so that many of them read side by side
        /// drive each other out before they are used. Stretch by stretch, a few rows are read at a time.
        #[target_feature(enable = $features)]
        pub(super) fn inner_products<D: Word, K: Word>(
            q: &$modulus,
            [out0, out1]: [&mut [u64]; 2],
            digits: &[&[D]],
            keys: &[[&[K]; 2]],
        ) {
            const PAIR: usize = 2 * $lanes;
            let most = most_rows(out0.len());
            let (out0, tail0) = out0.as_chunks_mut::<PAIR>();
            let (out1, tail1) = out1.as_chunks_mut::<PAIR>();
            let rows = digits.len().div_ceil(digits.len().div_ceil(most).max(1)).max(1);
            let stretches = out0.chunks_mut(STRETCH / PAIR).zip(out1.chunks_mut(STRETCH / PAIR));
            for (at, (out0, out1)) in stretches.enumerate() {
                for (chunk, (digits, keys)) in digits.chunks(rows).zip(keys.chunks(rows)).enumerate() {
                    for (i, (out0, out1)) in out0.iter_mut().zip(out1.iter_mut()).enumerate() {
                        inner_product_pair(q, [out0, out1], digits, keys, STRETCH * at + PAIR * i, chunk > 0);
                    }
                }
                if digits.is_empty() {
                    out0.as_flattened_mut().fill(0);
                    out1.as_flattened_mut().fill(0);
                }
            }
            if !tail0.is_empty() {
                let digits: Vec<_> = digits.iter().map(|d| last_pair(d)).collect();
                let keys: Vec<_> = keys.iter().map(|[k0, k1]| [last_pair(k0), last_pair(k1)]).collect();
                let digits: Vec<_> = digits.iter().map(|d| &d[..]).collect();
                let keys: Vec<_> = keys.iter().map(|[k0, k1]| [&k0[..], &k1[..]]).collect();
                let (mut out0, mut out1) = ([0; PAIR], [0; PAIR]);
                inner_product_pair(q, [&mut out0, &mut out1], &digits, &keys, 0, false);
                tail0.copy_from_slice(&out0[..tail0.len()]);
                tail1.copy_from_slice(&out1[..tail1.len()]);
            }
        }

        /// What follows the last whole pair of vectors of a polynomial, and zeros.
        fn last_pair<W: Word>(x: &[W]) -> [u64; 2 * $lanes] {
            let mut pair = [0; 2 * $lanes];
            let (_, tail) = x.as_chunks::<{ 2 * $lanes }>();
            pair.iter_mut().zip(tail).for_each(|(word, &x)| *word = x.into());
            pair
        }

        /// Two vectors of a polynomial, from index `at` on.
        #[inline]
        #[target_feature(enable = $features)]
        fn load_pair<W: Word>(x: &[W], at: usize) -> ($vector, $vector) {
            let (pair, _) = x[at..at + 2 * $lanes].as_chunks::<$lanes>();
            (load_words(&pair[0]), load_words(&pair[1]))
        }

        /// A vector of words of either kind.
        #[inline]
        #[target_feature(enable = $features)]
        fn load_words<W: Word>(x: &[W; $lanes]) -> $vector {
            let mut wide = [0; $lanes];
            for (wide, &x) in wide.iter_mut().zip(x) {
                *wide = x.into();
            }
            load(&wide)
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn store_pair(x: &mut [u64; 2 * $lanes], a: $vector, b: $vector) {
            let (pair, _) = x.as_chunks_mut::<$lanes>();
            store(&mut pair[0], a);
            store(&mut pair[1], b);
        }
    };
}

pub(super) use vector_kernels;
