//! Runs a module and its instrumented twin on the same engine: once Wasmtime counts, once the module does.

use wasmparser::{Validator, WasmFeatures};
use wasmtime::{
    Caller, Config, Engine, ExternType, Func, FuncType, Global, GlobalType, Instance, Linker, Module,
    Mutability, Ref, Store, Trap, Val, ValType,
};

use super::super::{GROW, ROOM};
use super::{Counting, Instrumented, MODULE, instrument};

/// More than any test needs.
pub(super) const PLENTY: u64 = 1 << 24;

/// What the host saw of one step: the instantiation, or a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The results, or how it ended.
    pub(super) outcome: String,
    pub(super) consumed: u64,
    /// The fuel consumed so far, whenever the guest asked the host.
    pub(super) seen: Vec<u64>,
}

/// How calls are limited. An instantiation gets [`PLENTY`], because Wasmtime counts more there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The fuel of each call.
    pub(super) fuel: u64,
    /// The units that the instrumented module gets at a time.
    pub(super) slice: u64,
}

impl Limits {
    pub(super) const NONE: Self = Self { fuel: PLENTY, slice: PLENTY };
}

#[derive(Default)]
struct Host {
    limit: u64,
    slice: u64,
    granted: u64,
    fuel: Option<Global>,
    seen: Vec<u64>,
}

/// Both engines, made once: tests compile hundreds of modules.
pub(super) struct Twins {
    counting: Engine,
    plain: Engine,
}

impl Twins {
    pub(super) fn new(change: impl Fn(&mut Config)) -> Self {
        let engine = |fuel| {
            let mut config = Config::new();
            config.consume_fuel(fuel).cranelift_nan_canonicalization(true);
            change(&mut config);
            Engine::new(&config).expect("the configuration is valid")
        };
        Self { counting: engine(true), plain: engine(false) }
    }

    /// Runs the module as it is.
    pub(super) fn original(
        &self,
        wasm: &[u8],
        calls: &[(&str, &[i32])],
        limits: Limits,
    ) -> Option<Vec<Step>> {
        let module = Module::new(&self.counting, wasm).expect("the original is valid");
        let mut store = Store::new(&self.counting, Host::default());
        let linker = linker(&mut store, &module)?;
        store.set_fuel(PLENTY).expect("fuel is on");
        store.data_mut().limit = PLENTY;
        let start = linker.instantiate(&mut store, &module);
        let used = PLENTY - store.get_fuel().expect("fuel is on");
        let mut steps = vec![step(&mut store, start.as_ref().map(|_| Vec::new()), used)];
        let Ok(instance) = start else { return Some(steps) };
        for (name, args) in calls {
            store.set_fuel(limits.fuel).expect("fuel is on");
            store.data_mut().limit = limits.fuel;
            let result = call(&mut store, instance, name, args);
            let used = limits.fuel - store.get_fuel().expect("fuel is on");
            steps.push(step(&mut store, result.as_ref().map(Clone::clone), used));
        }
        Some(steps)
    }

    /// Runs the instrumented module.
    pub(super) fn instrumented(
        &self,
        twin: &Instrumented,
        calls: &[(&str, &[i32])],
        limits: Limits,
    ) -> Option<Vec<Step>> {
        let module = Module::new(&self.plain, &twin.wasm).expect("the instrumented module is valid");
        let mut store = Store::new(&self.plain, Host::default());
        let ty = GlobalType::new(ValType::I64, Mutability::Var);
        let fuel = Global::new(&mut store, ty, Val::I64(0)).expect("the type is right");
        store.data_mut().fuel = Some(fuel);
        let mut linker = linker(&mut store, &module)?;
        linker.allow_shadowing(true);
        linker.define(&store, MODULE, "fuel", fuel).expect("defined once");
        let ty = FuncType::new(&self.plain, [ValType::I64], [ValType::I64]);
        let check = Func::new(&mut store, ty, |mut caller, params, results| {
            let count = params[0].unwrap_i64();
            assert!(count >= 0, "there were units left: {count}");
            let host = caller.data_mut();
            let total = host.granted.saturating_add(count.cast_unsigned());
            if total >= host.limit {
                return Err(Trap::OutOfFuel.into());
            }
            let more = host.slice.max(1).saturating_add(count.cast_unsigned()).min(host.limit - host.granted);
            host.granted += more;
            let fuel = host.fuel.expect("it was set");
            let left = fuel.get(&mut caller).unwrap_i64();
            fuel.set(&mut caller, Val::I64(left - more.cast_signed()))?;
            results[0] = Val::I64(count - more.cast_signed());
            Ok(())
        });
        linker.define(&store, MODULE, "check", check).expect("defined once");

        grant(&mut store, fuel, Limits::NONE);
        let start = linker.instantiate(&mut store, &module);
        let used = consumed(&mut store);
        let mut steps = vec![step(&mut store, start.as_ref().map(|_| Vec::new()), used)];
        let Ok(instance) = start else { return Some(steps) };
        for (name, args) in calls {
            grant(&mut store, fuel, limits);
            let result = call(&mut store, instance, name, args);
            let used = if result.as_ref().is_err_and(|error| trap(error) == Some(Trap::OutOfFuel)) {
                limits.fuel
            } else {
                consumed(&mut store)
            };
            steps.push(step(&mut store, result.as_ref().map(Clone::clone), used));
        }
        Some(steps)
    }
}

pub(super) fn validate(wasm: &[u8]) -> wasmparser::Result<()> {
    let features = WasmFeatures::all() & !WasmFeatures::LEGACY_EXCEPTIONS;
    Validator::new_with_features(features).validate_all(wasm).map(drop)
}

/// The instrumented module, which is valid.
pub(super) fn twin(wasm: &[u8], counting: Counting) -> Instrumented {
    let twin = instrument(wasm, counting).expect("a valid module can be instrumented");
    validate(&twin.wasm).unwrap_or_else(|error| panic!("{counting:?}: {error}"));
    twin
}

fn grant(store: &mut Store<Host>, fuel: Global, limits: Limits) {
    let granted = limits.slice.min(limits.fuel);
    fuel.set(&mut *store, Val::I64(-granted.cast_signed())).expect("the type is right");
    let host = store.data_mut();
    (host.limit, host.slice, host.granted) = (limits.fuel, limits.slice, granted);
}

fn consumed(store: &mut Store<Host>) -> u64 {
    let fuel = store.data().fuel.expect("it was set");
    let left = fuel.get(&mut *store).unwrap_i64();
    store.data().granted.checked_add_signed(left).expect("not negative").min(store.data().limit)
}

/// `host.look` notes the fuel consumed, `host.twice` doubles a number. Everything else has a default value.
fn linker(store: &mut Store<Host>, module: &Module) -> Option<Linker<Host>> {
    let mut linker = Linker::new(store.engine());
    linker
        .func_wrap("host", "look", |mut caller: Caller<'_, Host>| {
            let fuel = caller.data().fuel;
            let seen = match fuel {
                Some(fuel) => {
                    let left = fuel.get(&mut caller).unwrap_i64();
                    caller
                        .data()
                        .granted
                        .checked_add_signed(left)
                        .expect("not negative")
                        .min(caller.data().limit)
                }
                None => caller.data().limit - caller.get_fuel().expect("fuel is on"),
            };
            caller.data_mut().seen.push(seen);
        })
        .and_then(|linker| linker.func_wrap("host", "twice", |number: i32| number.wrapping_mul(2)))
        .expect("defined once");
    for import in module.imports() {
        if let ExternType::Func(ty) = import.ty()
            && !matches!((import.module(), import.name()), ("host", "look" | "twice") | (MODULE, _))
        {
            let results = ty.results().map(|ty| ty.default_value()).collect::<Option<Vec<_>>>()?;
            linker
                .func_new(import.module(), import.name(), ty, move |_, _, out| {
                    out.clone_from_slice(&results);
                    Ok(())
                })
                .ok()?;
        }
    }
    linker.func_wrap(MODULE, GROW, |_: i32, _: i32| 1).ok()?;
    linker.func_wrap(MODULE, ROOM, || ()).ok()?;
    linker.allow_shadowing(true);
    linker.define_unknown_imports_as_default_values(&mut *store, module).ok()?;
    Some(linker)
}

fn call(
    store: &mut Store<Host>,
    instance: Instance,
    name: &str,
    args: &[i32],
) -> wasmtime::Result<Vec<String>> {
    let function = instance.get_func(&mut *store, name).expect("it is exported");
    let ty = function.ty(&*store);
    let mut args = args.iter().copied();
    let mut params = Vec::new();
    for ty in ty.params() {
        params.push(match ty {
            ValType::I32 => Val::I32(args.next().unwrap_or(3)),
            ValType::I64 => Val::I64(i64::from(args.next().unwrap_or(5))),
            ty => ty.default_value().unwrap_or(Val::FuncRef(None)),
        });
    }
    let mut results = vec![Val::I32(0); ty.results().len()];
    function.call(&mut *store, &params, &mut results)?;
    Ok(results
        .iter()
        .map(|value| match value {
            Val::FuncRef(_) | Val::ExternRef(_) | Val::AnyRef(_) | Val::ExnRef(_) | Val::ContRef(_) => {
                format!("ref, null: {}", value.ref_().as_ref().is_some_and(Ref::is_null))
            }
            value => format!("{value:?}"),
        })
        .collect())
}

fn step(store: &mut Store<Host>, result: Result<Vec<String>, &wasmtime::Error>, consumed: u64) -> Step {
    let outcome = match result {
        Ok(values) => values.join(", "),
        Err(error) => match trap(error) {
            Some(trap) => format!("{trap:?}"),
            None => format!("{:?}", error.root_cause().to_string()),
        },
    };
    Step { outcome, consumed, seen: std::mem::take(&mut store.data_mut().seen) }
}

fn trap(error: &wasmtime::Error) -> Option<Trap> {
    error.downcast_ref::<Trap>().copied()
}
