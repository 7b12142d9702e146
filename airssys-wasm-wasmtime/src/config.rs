//! What an embedder can choose, and what follows from it for Wasmtime.

use std::path::PathBuf;
use std::time::Duration;

use airssys_wasm_core::component::ByteSize;
use airssys_wasm_core::error::{ErrorKind, Result, WasmError};
use wasmtime::{Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy};

/// Room on the stack of a call for the host functions that it reaches, beyond what the guest may use.
const HOST_STACK: usize = 1536 << 10;

/// How an engine is set up.
///
/// ```
/// use airssys_wasm_wasmtime::{Allocation, WasmtimeConfig};
///
/// let config = WasmtimeConfig { allocation: Allocation::OnDemand, ..WasmtimeConfig::default() };
/// assert_eq!(config.tick.as_millis(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasmtimeConfig {
    /// The stack of a guest. A guest that needs more traps with a stack overflow.
    pub max_stack: ByteSize,
    /// A folder for compiled code, created when it is missing. None: components are compiled at every load.
    ///
    /// Compiled code is machine code, so only this user may write there: a folder that others can write to is refused.
    pub code_cache: Option<PathBuf>,
    /// Where the memory of instances comes from.
    pub allocation: Allocation,
    /// How often a busy guest lets others run, and looks at its deadline.
    pub tick: Duration,
    /// Whether one component is compiled by many threads. They belong to a pool that the whole process shares, so a host
    /// that serves while it compiles leaves this off.
    pub parallel_compilation: bool,
}

/// Where the memory of instances comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// Slots reserved when the engine is made: instances start three to five times faster.
    ///
    /// Each slot reserves 4 GiB of addresses and touches none. A component that does not fit into a slot, because it
    /// declares larger tables or more memories than any toolchain makes, is served on demand instead.
    Pooling {
        /// Memories that can exist at the same time, over all instances. Most components have one.
        max_instances: u32,
    },
    /// Mapped for each instance: slower to start, with no number of instances fixed beforehand.
    OnDemand,
}

impl Default for WasmtimeConfig {
    /// A serving host: a pool of 1,000 instances, 512 KiB of stack, a tick of 1 ms, no code cache.
    fn default() -> Self {
        Self {
            max_stack: ByteSize::kib(512),
            code_cache: None,
            allocation: Allocation::Pooling { max_instances: 1_000 },
            tick: Duration::from_millis(1),
            parallel_compilation: false,
        }
    }
}

impl WasmtimeConfig {
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |setting: &'static str, value: String, advice: &'static str| {
            Err(WasmError::new(ErrorKind::InvalidConfiguration, "make engine")
                .saying("a setting of the engine is out of range")
                .with("setting", setting)
                .with("value", value)
                .advising(advice))
        };
        let stack = self.max_stack;
        if stack < ByteSize::kib(32) || stack > ByteSize::mib(64) {
            return refuse("max_stack", stack.to_string(), "choose a stack of 32 KiB to 64 MiB");
        }
        if self.tick < Duration::from_micros(100) || self.tick > Duration::from_millis(100) {
            return refuse("tick", format!("{:?}", self.tick), "choose a tick of 100 us to 100 ms");
        }
        match self.allocation {
            Allocation::Pooling { max_instances } if !(1..=100_000).contains(&max_instances) => {
                refuse("max_instances", max_instances.to_string(), "choose 1 to 100,000 slots")
            }
            _ => Ok(()),
        }
    }

    /// The settings of Wasmtime for one of the engines behind a [`WasmtimeEngine`](crate::WasmtimeEngine).
    ///
    /// What guests may use is WebAssembly 2.0 with multiple memories and extended constant expressions. Everything else
    /// is switched off by name, so that a new version of Wasmtime cannot switch it on: what one engine takes, each must.
    pub(crate) fn wasmtime(&self, metered: bool, allocation: Allocation) -> Config {
        let mut config = Config::new();
        config
            .strategy(Strategy::Cranelift)
            .cranelift_opt_level(OptLevel::Speed)
            .parallel_compilation(self.parallel_compilation)
            .concurrency_support(false)
            .epoch_interruption(true)
            .consume_fuel(metered)
            .memory_init_cow(true)
            // Where a trap lies in the binary is not told; which function it is in is, without this map.
            .generate_address_map(false)
            .max_wasm_stack(self.max_stack.as_usize())
            .async_stack_size(self.max_stack.as_usize() + HOST_STACK);
        // For debuggers and profilers alone. Without both, code is smaller by a fifth, and so loads faster.
        #[cfg(not(windows))]
        config.native_unwind_info(false);
        config
            .wasm_multi_memory(true)
            .wasm_extended_const(true)
            .wasm_simd(true)
            .wasm_relaxed_simd(false)
            .wasm_tail_call(false)
            .wasm_memory64(false)
            .wasm_custom_page_sizes(false)
            .wasm_wide_arithmetic(false);
        config.allocation_strategy(match allocation {
            Allocation::Pooling { max_instances } => InstanceAllocationStrategy::Pooling(pool(max_instances)),
            Allocation::OnDemand => InstanceAllocationStrategy::OnDemand,
        });
        config
    }
}

/// Room for what toolchains make: one memory, up to four tables, up to 256 core instances for each component. What has more is
/// served on demand, so that no component takes the slots of others. Addresses are reserved, pages are not touched.
fn pool(max_instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(max_instances)
        .total_core_instances(max_instances.saturating_mul(256))
        .total_memories(max_instances)
        .total_tables(max_instances.saturating_mul(4))
        .total_stacks(max_instances)
        .max_core_instances_per_component(256)
        .max_memories_per_component(1)
        .max_tables_per_component(4)
        .max_memories_per_module(1)
        .max_tables_per_module(4)
        .table_elements(1 << 17)
        .max_memory_size(1 << 32)
        .max_component_instance_size(16 << 20)
        .max_core_instance_size(16 << 20)
        .linear_memory_keep_resident(128 << 10)
        .table_keep_resident(16 << 10);
    pool
}
