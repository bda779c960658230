//! Which rows of a sparse matrix to compute together.

use std::collections::HashMap;

use super::matrix::Row;

/// Rows, and a list of columns, ascending, that holds the columns of each.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub columns: Vec<u32>,
    pub rows: Vec<u32>,
}

/// Columns of a group that another must have most of, to be compared with it at all.
const SAMPLES: usize = 4;

/// Groups that cover every row once: rows with equal columns, and rows that share more than three
/// quarters of their columns with the group's first, so that it need not be computed twice for a
/// few entries that one of them lacks.
pub(super) fn similar(rows: &[Row]) -> Vec<Group> {
    let mut equal: Vec<Option<Group>> = equal(rows).into_iter().map(Some).collect();
    let mut readers: HashMap<u32, Vec<usize>> = HashMap::new();
    for (number, group) in equal.iter().enumerate() {
        for &column in group.iter().flat_map(|group| &group.columns) {
            readers.entry(column).or_default().push(number);
        }
    }
    let mut groups = Vec::new();
    for number in 0..equal.len() {
        let Some(mut group) = equal[number].take() else { continue };
        let first = group.columns.clone();
        let limit = first.len() + first.len() / 3;
        for candidate in candidates(&first, &readers) {
            let Some(other) = equal[candidate].as_ref() else { continue };
            if !overlap(&first, &other.columns) {
                continue;
            }
            let columns = union(&group.columns, &other.columns);
            if columns.len() <= limit {
                group.columns = columns;
                group.rows.extend_from_slice(&other.rows);
                equal[candidate] = None;
            }
        }
        group.rows.sort_unstable();
        groups.push(group);
    }
    groups
}

/// The rows by equal column lists, in the order of each list's first row.
fn equal(rows: &[Row]) -> Vec<Group> {
    let mut known: HashMap<&[u32], usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let group = *known.entry(&row.columns).or_insert_with(|| {
            groups.push(Group { columns: row.columns.clone(), rows: Vec::new() });
            groups.len() - 1
        });
        groups[group].rows.push(number as u32);
    }
    groups
}

/// Groups that read most of a few columns spread over a list, ascending.
fn candidates(columns: &[u32], readers: &HashMap<u32, Vec<usize>>) -> Vec<usize> {
    let samples = SAMPLES.min(columns.len());
    let mut found: Vec<usize> =
        (0..samples).flat_map(|i| &readers[&columns[i * columns.len() / samples]]).copied().collect();
    found.sort_unstable();
    found.chunk_by(|a, b| a == b).filter(|votes| 2 * votes.len() >= samples).map(|votes| votes[0]).collect()
}

/// Whether two lists, each without repetitions, have more than three quarters of their union in common.
fn overlap(a: &[u32], b: &[u32]) -> bool {
    let distinct = |list: &[u32]| list.is_sorted_by(|x, y| x < y);
    if !distinct(a) || !distinct(b) {
        return false;
    }
    let union = union(a, b).len();
    4 * (a.len() + b.len() - union) > 3 * union
}

/// The columns of two ascending lists, ascending, once each.
fn union(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut union = [a, b].concat();
    // Two sorted runs: one merge.
    union.sort();
    union.dedup();
    union
}

#[cfg(test)]
mod tests {
    use super::super::matrix::ScalarMatrix;

    /// The columns and rows of a matrix's blocks, for rows of ones.
    fn blocks(rows: &[&[u32]]) -> Vec<(Vec<u32>, Vec<u32>)> {
        let offsets: Vec<usize> = std::iter::once(0)
            .chain(rows.iter().scan(0, |sum, row| {
                *sum += row.len();
                Some(*sum)
            }))
            .collect();
        let columns = rows.concat();
        let matrix = ScalarMatrix::new(100, &offsets, &columns, &vec![1; columns.len()]).unwrap();
        matrix.blocks().map(|block| (block.taps.to_vec(), block.rows.to_vec())).collect()
    }

    #[test]
    fn rows_that_lack_a_few_columns_join_the_others() {
        let all: Vec<u32> = (0..9).collect();
        let some = [0, 1, 2, 4, 5, 6, 7, 8];
        assert_eq!(blocks(&[&some, &all, &[0, 1], &all]), [(all.clone(), vec![0, 1, 3]), (vec![0, 1], vec![2])]);
    }

    #[test]
    fn neighbouring_positions_of_a_convolution_stay_apart() {
        let at = |x: u32| (0..3).flat_map(|y| x + 10 * y..x + 10 * y + 3).collect::<Vec<u32>>();
        assert_eq!(blocks(&[&at(0), &at(1), &at(0), &at(1)]), [(at(0), vec![0, 2]), (at(1), vec![1, 3])]);
    }

    #[test]
    fn a_group_does_not_outgrow_its_first_row() {
        let row = |extra: u32| (0..20).chain(20 + 3 * extra..23 + 3 * extra).collect::<Vec<u32>>();
        let rows: Vec<Vec<u32>> = (0..6).map(row).collect();
        let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let blocks = blocks(&rows);
        assert!(blocks.iter().all(|(columns, _)| columns.len() <= 23 + 23 / 3));
        assert_eq!(blocks.iter().map(|(_, rows)| rows.len()).sum::<usize>(), 6);
        assert!(blocks.len() < 6);
    }
}
