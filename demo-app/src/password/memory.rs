//! Keeps and reuses the memory that argon2 fills.

use std::sync::{Mutex, MutexGuard, PoisonError};

use argon2::Block;

/// The smallest allocation for a hash that needs more than ours, in blocks of 1 KiB. Allocators
/// return pieces of this size to the system when they are freed.
const MIN_LARGE_ALLOCATION: usize = 64 * 1024;

/// Memory pieces of one size. There are as many as were in use at once.
pub(super) struct MemoryPool {
    blocks: usize,
    free: Mutex<Vec<Vec<Block>>>,
}

impl MemoryPool {
    /// Creates an empty pool for pieces of this many blocks.
    pub(super) fn new(blocks: usize) -> Self {
        Self { blocks, free: Mutex::default() }
    }

    /// Runs `work` with `blocks` blocks of any contents. More than a piece is allocated for this
    /// call.
    pub(super) fn with_blocks<T>(&self, blocks: usize, work: impl FnOnce(&mut [Block]) -> T) -> T {
        if blocks > self.blocks {
            return work(&mut vec![Block::new(); blocks.max(MIN_LARGE_ALLOCATION)]);
        }
        let reused = self.free().pop();
        let mut piece = reused.unwrap_or_else(|| vec![Block::new(); self.blocks]);
        let done = work(&mut piece);
        self.free().push(piece);
        done
    }

    fn free(&self) -> MutexGuard<'_, Vec<Vec<Block>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for MemoryPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_memory_is_reused() {
        let memory = MemoryPool::new(8);
        let place = |memory: &MemoryPool| memory.with_blocks(8, |blocks| blocks.as_ptr() as usize);
        let first = place(&memory);
        for _ in 0..100 {
            assert_eq!(place(&memory), first);
        }
        assert_eq!(memory.free().len(), 1);
        memory.with_blocks(4, |_| memory.with_blocks(8, |_| {}));
        assert_eq!(memory.free().len(), 2, "two at once");
    }

    #[test]
    fn password_memory_of_larger_hash_is_not_kept() {
        let memory = MemoryPool::new(8);
        assert_eq!(memory.with_blocks(9, |blocks| blocks.len()), MIN_LARGE_ALLOCATION);
        assert!(memory.free().is_empty());
    }
}
