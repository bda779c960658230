//! One operation on many ciphertexts, spread over the threads of the current rayon pool
//! ([`runtime::install`](crate::runtime::install) chooses it).

use rayon::prelude::*;

use crate::error::Result;
use crate::runtime::Cancellation;

/// The results of `operation`, in the order of the inputs.
///
/// # Errors
/// An error of one of the operations, or [`Error::Interrupted`](crate::Error::Interrupted): the flag is
/// looked at before each of them.
pub fn map<T: Sync, U: Send>(
    inputs: &[T],
    cancellation: &Cancellation,
    operation: impl Fn(&T) -> Result<U> + Sync,
) -> Result<Vec<U>> {
    inputs
        .par_iter()
        .map(|input| {
            cancellation.check()?;
            operation(input)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::runtime;

    #[test]
    fn results_keep_their_order_on_any_number_of_threads() {
        let inputs: Vec<u64> = (0..1000).collect();
        for threads in 1..=3 {
            let squares = runtime::install(threads, || map(&inputs, &Cancellation::new(), |x| Ok(x * x))).unwrap();
            assert!(squares.unwrap().into_iter().eq(inputs.iter().map(|x| x * x)));
        }
    }

    #[test]
    fn cancelling_stops_the_rest() {
        let cancellation = Cancellation::new();
        let result = runtime::install(1, || {
            map(&[1, 2, 3], &cancellation, |&x| {
                assert_eq!(x, 1);
                cancellation.cancel();
                Ok(x)
            })
        });
        assert_eq!(result.unwrap(), Err(Error::Interrupted));
    }

    #[test]
    fn an_error_is_handed_on() {
        let result =
            map(&[0, 1], &Cancellation::new(), |&x| if x == 1 { Err(Error::NoiseBudgetExhausted(0)) } else { Ok(x) });
        assert_eq!(result, Err(Error::NoiseBudgetExhausted(0)));
    }
}
