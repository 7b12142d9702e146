//! Rewrites the body of one function.
//!
//! Operators are copied as they are, unless they name a function, a global, or a block that has moved. Code that
//! Wasmtime does not translate, because nothing reaches it, is not copied: Wasmtime does not count it either.

use std::mem;
use std::ops::Range;

use wasm_encoder::reencode::Reencode;
use wasm_encoder::{BlockType, Catch, Encode, Function, Instruction, InstructionSink, TypeSection, ValType};
use wasmparser::{FunctionBody, Operator, TryTable};

use super::cost::{self, Bulk};
use super::scope::{Scope, value_types};
use super::sections::runs_in_library;
use super::{Counting, InstrumentError, Moves};

pub(super) struct Body<'a> {
    scope: &'a mut Scope,
    types: &'a mut TypeSection,
    moves: Moves,
    counting: Counting,
    source: &'a [u8],
    results: Vec<ValType>,
    /// The first local that was added.
    local: u32,
    /// Whether the two locals after it are in use.
    scratch: bool,
    /// Whether the body checks again after the entry of the function.
    checks: bool,
    frames: Vec<Frame>,
    /// In code that cannot be reached: how many blocks were entered there.
    dead: Option<u32>,
    /// Units that are not in the count yet.
    pending: i64,
    /// The operand at the top of the stack, when the operator before pushed a constant.
    constant: Option<u64>,
    code: Vec<u8>,
}

/// A block that is open.
struct Frame {
    kind: FrameKind,
    ty: Option<wasmparser::BlockType>,
    /// Whether a branch goes to its end.
    exited: bool,
    /// The open blocks, counted from the function, where the handlers of a `try_table` go on.
    handlers: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameKind {
    Block,
    Loop,
    If,
    /// The second half of an `if`, and whether the end of the first half is reached.
    Else(bool),
}

impl Frame {
    fn new(kind: FrameKind, ty: Option<wasmparser::BlockType>) -> Self {
        Self { kind, ty, exited: false, handlers: Vec::new() }
    }

    /// How many blocks were put around it.
    fn wrappers(&self) -> u32 {
        match self.handlers.len() {
            0 => 0,
            handlers => handlers as u32 + 1,
        }
    }

    /// Whether the code after it is reached although its last operator is not.
    fn goes_on(&self) -> bool {
        self.exited || matches!(self.kind, FrameKind::If | FrameKind::Else(true))
    }
}

impl<'a> Body<'a> {
    pub(super) fn new(
        scope: &'a mut Scope,
        types: &'a mut TypeSection,
        moves: Moves,
        counting: Counting,
        source: &'a [u8],
        defined: usize,
    ) -> Result<Self, InstrumentError> {
        let ty = scope.function(defined)?;
        let (results, local) = (value_types(ty.results())?, ty.params().len() as u32);
        Ok(Self {
            scope,
            types,
            moves,
            counting,
            source,
            results,
            local,
            scratch: false,
            checks: false,
            frames: vec![Frame::new(FrameKind::Block, None)],
            dead: None,
            pending: 0,
            constant: None,
            code: Vec::new(),
        })
    }

    pub(super) fn write(&mut self, body: &FunctionBody<'_>) -> Result<Function, InstrumentError> {
        let mut locals = Vec::new();
        for group in body.get_locals_reader()? {
            let (count, ty) = group?;
            locals.push((count, self.moves.val_type(ty)?));
            self.local = self.local.saturating_add(count);
        }

        let mut reader = body.get_operators_reader()?;
        let mut exit = false;
        while !reader.eof() {
            let start = reader.original_position();
            let op = reader.read()?;
            exit = self.operator(op, start..reader.original_position())?;
        }
        reader.finish()?;

        let counts = self.counting == Counting::Fuel;
        if counts || self.checks {
            locals.push((1, ValType::I64));
        }
        if self.scratch {
            locals.extend([(1, ValType::I32), (1, ValType::I64)]);
        }
        let body = mem::take(&mut self.code);
        self.entry();
        // A branch out of the function would miss what follows the body: it goes to a block around it.
        let exited = counts && mem::take(&mut self.frames).pop().is_some_and(|frame| frame.exited);
        if exited {
            let results = mem::take(&mut self.results);
            let ty = self.scope.block_type(self.types, Vec::new(), results);
            self.sink().block(ty);
        }
        self.code.extend(body);
        if exited {
            self.sink().end();
        }
        if exit && counts {
            self.save();
        }
        self.sink().end();

        let mut function = Function::new(locals);
        function.raw(mem::take(&mut self.code));
        Ok(function)
    }

    /// Writes one operator. Answers, for the last `end`, whether the end of the function is reached.
    fn operator(&mut self, op: Operator<'_>, range: Range<usize>) -> Result<bool, InstrumentError> {
        if let Some(depth) = &mut self.dead {
            match op {
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::TryTable { .. } => *depth += 1,
                Operator::Else if *depth == 0 => self.otherwise(false)?,
                Operator::End if *depth == 0 => return self.end(false),
                Operator::End => *depth -= 1,
                _ => {}
            }
            return Ok(false);
        }

        self.pending += cost::units(&op);
        let constant = self.constant.take();
        match op {
            Operator::Nop => self.constant = constant,
            Operator::I32Const { value } => {
                self.constant = Some(u64::from(value.cast_unsigned()));
                self.copy(range)?;
            }
            Operator::I64Const { value } => {
                self.constant = Some(value.cast_unsigned());
                self.copy(range)?;
            }
            Operator::Block { blockty } => {
                self.frames.push(Frame::new(FrameKind::Block, Some(blockty)));
                self.copy(range)?;
            }
            Operator::Loop { blockty } => {
                self.flush();
                self.frames.push(Frame::new(FrameKind::Loop, Some(blockty)));
                self.copy(range)?;
                self.check();
            }
            Operator::If { blockty } => {
                self.flush();
                self.frames.push(Frame::new(FrameKind::If, Some(blockty)));
                self.copy(range)?;
            }
            Operator::Else => {
                self.flush();
                self.otherwise(true)?;
            }
            Operator::End => {
                self.flush();
                return self.end(true);
            }
            Operator::TryTable { try_table } => self.try_table(try_table, range)?,
            Operator::Br { relative_depth } => {
                self.flush();
                let relative_depth = self.branch(relative_depth)?;
                self.sink().br(relative_depth);
                self.dead = Some(0);
            }
            Operator::BrTable { ref targets } => {
                self.flush();
                let default = self.branch(targets.default())?;
                let mut labels = Vec::with_capacity(targets.len() as usize);
                for target in targets.targets() {
                    labels.push(self.branch(target?)?);
                }
                self.sink().br_table(labels, default);
                self.dead = Some(0);
            }
            Operator::BrIf { mut relative_depth } => {
                self.flush();
                relative_depth = self.branch(relative_depth)?;
                self.sink().br_if(relative_depth);
            }
            Operator::BrOnNull { mut relative_depth } => {
                self.flush();
                relative_depth = self.branch(relative_depth)?;
                self.sink().br_on_null(relative_depth);
            }
            Operator::BrOnNonNull { mut relative_depth } => {
                self.flush();
                relative_depth = self.branch(relative_depth)?;
                self.sink().br_on_non_null(relative_depth);
            }
            Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::CallRef { .. } => {
                self.save();
                self.encode(op)?;
                self.load();
            }
            Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
            | Operator::Return
            | Operator::Unreachable
            | Operator::Throw { .. }
            | Operator::ThrowRef => {
                self.save();
                self.encode(op)?;
                self.dead = Some(0);
            }
            Operator::GlobalGet { .. }
            | Operator::GlobalSet { .. }
            | Operator::GlobalAtomicGet { .. }
            | Operator::GlobalAtomicSet { .. }
            | Operator::GlobalAtomicRmwAdd { .. }
            | Operator::GlobalAtomicRmwSub { .. }
            | Operator::GlobalAtomicRmwAnd { .. }
            | Operator::GlobalAtomicRmwOr { .. }
            | Operator::GlobalAtomicRmwXor { .. }
            | Operator::GlobalAtomicRmwXchg { .. }
            | Operator::GlobalAtomicRmwCmpxchg { .. }
            | Operator::RefFunc { .. } => self.encode(op)?,
            Operator::Try { .. }
            | Operator::Catch { .. }
            | Operator::CatchAll
            | Operator::Delegate { .. }
            | Operator::Rethrow { .. } => return Err(InstrumentError::Unsupported("legacy exceptions")),
            Operator::ArrayNew { .. }
            | Operator::ArrayNewDefault { .. }
            | Operator::ArrayNewData { .. }
            | Operator::ArrayNewElem { .. }
            | Operator::ArrayFill { .. }
            | Operator::ArrayCopy { .. }
            | Operator::ArrayInitData { .. }
            | Operator::ArrayInitElem { .. }
            | Operator::BrOnCast { .. }
            | Operator::BrOnCastFail { .. }
            | Operator::BrOnCastDescEq { .. }
            | Operator::BrOnCastDescEqFail { .. } => {
                return Err(InstrumentError::Unsupported("garbage collection"));
            }
            Operator::ContNew { .. }
            | Operator::ContBind { .. }
            | Operator::Suspend { .. }
            | Operator::Resume { .. }
            | Operator::ResumeThrow { .. }
            | Operator::ResumeThrowRef { .. }
            | Operator::Switch { .. } => return Err(InstrumentError::Unsupported("stack switching")),
            _ => {
                if let Some(bulk) = Bulk::of(&op, self.scope)? {
                    self.bulk(bulk, constant);
                }
                if runs_in_library(&op) {
                    let room = self.moves.room();
                    self.sink().call(room);
                }
                if let Operator::TableGrow { table } = op {
                    self.grow_table(table, range)?;
                } else if cost::always_traps(&op, self.scope)? {
                    self.save();
                    self.copy(range)?;
                    self.sink().unreachable();
                    self.dead = Some(0);
                } else {
                    self.copy(range)?;
                }
            }
        }
        Ok(false)
    }

    fn otherwise(&mut self, reached: bool) -> Result<(), InstrumentError> {
        let frame = self.frames.last_mut().ok_or(InstrumentError::Missing("block"))?;
        frame.kind = FrameKind::Else(reached);
        self.dead = None;
        self.sink().else_();
        Ok(())
    }

    fn end(&mut self, reached: bool) -> Result<bool, InstrumentError> {
        let goes_on = {
            let frame = self.frames.last().ok_or(InstrumentError::Missing("block"))?;
            reached || frame.goes_on()
        };
        if self.frames.len() == 1 {
            return Ok(goes_on);
        }
        let handlers = self.frames.pop().map(|frame| frame.handlers).unwrap_or_default();
        self.sink().end();
        if !handlers.is_empty() {
            self.handlers(&handlers)?;
        }
        self.dead = if goes_on { None } else { Some(0) };
        if !goes_on {
            self.sink().unreachable();
        }
        Ok(false)
    }

    /// Starts a `try_table`.
    ///
    /// Its handlers go on somewhere else, with a count that is older than the exception. So each of them goes to a
    /// block of its own first, where the count is read again; `handlers` writes what follows there.
    fn try_table(&mut self, try_table: TryTable, range: Range<usize>) -> Result<(), InstrumentError> {
        let mut frame = Frame::new(FrameKind::Block, Some(try_table.ty));
        let mut targets = Vec::with_capacity(try_table.catches.len());
        for catch in &try_table.catches {
            let (wasmparser::Catch::One { label, .. }
            | wasmparser::Catch::OneRef { label, .. }
            | wasmparser::Catch::All { label }
            | wasmparser::Catch::AllRef { label }) = *catch;
            targets.push(self.target(label)?);
        }
        if targets.is_empty() || self.counting == Counting::Epochs {
            self.frames.push(frame);
            return self.copy(range);
        }

        let ty = self.moves.block_type(try_table.ty)?;
        self.sink().block(ty);
        for target in targets.iter().rev() {
            let params = self.scope.params(try_table.ty)?;
            let results = self.label(*target)?;
            let ty = self.scope.block_type(self.types, params, results);
            self.sink().block(ty);
        }
        let mut catches = Vec::with_capacity(targets.len());
        for (catch, position) in try_table.catches.into_iter().zip(0..) {
            catches.push(match self.moves.catch(catch)? {
                Catch::One { tag, .. } => Catch::One { tag, label: position },
                Catch::OneRef { tag, .. } => Catch::OneRef { tag, label: position },
                Catch::All { .. } => Catch::All { label: position },
                Catch::AllRef { .. } => Catch::AllRef { label: position },
            });
        }
        self.sink().try_table(ty, catches);
        frame.handlers = targets;
        self.frames.push(frame);
        Ok(())
    }

    fn handlers(&mut self, handlers: &[usize]) -> Result<(), InstrumentError> {
        let mut around = handlers.len() as u32;
        self.sink().br(around);
        for target in handlers {
            self.sink().end();
            self.load();
            let label = self.distance(*target)? + around;
            self.sink().br(label);
            around -= 1;
        }
        self.sink().end();
        Ok(())
    }

    /// Finds the target of a branch, and notes that it is one.
    fn target(&mut self, relative_depth: u32) -> Result<usize, InstrumentError> {
        let target = (self.frames.len() - 1)
            .checked_sub(relative_depth as usize)
            .ok_or(InstrumentError::Missing("block"))?;
        let frame = &mut self.frames[target];
        frame.exited |= frame.kind != FrameKind::Loop;
        Ok(target)
    }

    /// Answers the new relative depth of a branch, and notes its target.
    fn branch(&mut self, relative_depth: u32) -> Result<u32, InstrumentError> {
        let target = self.target(relative_depth)?;
        self.distance(target)
    }

    /// How many blocks are between here and an open one, those that were added included.
    fn distance(&self, target: usize) -> Result<u32, InstrumentError> {
        let inner = self.frames.get(target + 1..).ok_or(InstrumentError::Missing("block"))?;
        Ok(inner.iter().map(|frame| 1 + frame.wrappers()).sum())
    }

    /// The types that a branch to an open block takes along.
    fn label(&self, target: usize) -> Result<Vec<ValType>, InstrumentError> {
        match self.frames.get(target) {
            Some(Frame { kind: FrameKind::Loop, ty: Some(ty), .. }) => self.scope.params(*ty),
            Some(Frame { ty: Some(ty), .. }) => self.scope.results(*ty),
            Some(Frame { ty: None, .. }) => Ok(self.results.clone()),
            None => Err(InstrumentError::Missing("block")),
        }
    }

    /// Charges for a bulk operation and checks before it. The length is at the top of the stack.
    fn bulk(&mut self, bulk: Bulk, constant: Option<u64>) {
        if let Some(units) = constant {
            let units = if bulk.charged { units } else { 0 };
            self.pending = self.pending.saturating_add(i64::try_from(units).unwrap_or(i64::MAX));
            if units > Bulk::SMALL {
                self.flush();
                self.check();
            }
            return;
        }
        self.flush();
        if bulk.charged && self.counting == Counting::Fuel {
            self.scratch = true;
            let (count, narrow, wide) = (self.local, self.local + 1, self.local + 2);
            let mut sink = self.sink();
            if bulk.wide {
                sink.local_tee(wide).local_get(wide);
                // Lengths beyond the largest count cost that.
                sink.i64_const(i64::MAX).local_get(wide).i64_const(0).i64_ge_s().select();
            } else {
                sink.local_tee(narrow).local_get(narrow).i64_extend_i32_u();
            }
            sink.local_get(count).i64_add().local_set(count);
        }
        self.check();
    }

    /// Asks the host before a table grows. The value for the new elements and their number are on the stack.
    fn grow_table(&mut self, table: u32, range: Range<usize>) -> Result<(), InstrumentError> {
        if self.scope.table64(table)? {
            return Err(InstrumentError::Unsupported("tables of 64 bits"));
        }
        (self.scratch, self.checks) = (true, true);
        let (by, grow) = (self.local + 1, self.moves.grow());
        let element = self.scope.element(table)?;
        let ty = self.scope.block_type(self.types, vec![element], vec![ValType::I32]);
        let mut sink = self.sink();
        sink.local_set(by).i32_const(table.cast_signed()).local_get(by).call(grow);
        sink.if_(ty).local_get(by);
        self.copy(range)?;
        self.sink().else_().drop().i32_const(-1).end();
        Ok(())
    }

    /// What happens before the first operator.
    fn entry(&mut self) {
        let (check, global, local) = (self.moves.check(), self.moves.first_global(), self.local);
        match self.counting {
            Counting::Fuel => {
                self.sink().global_get(global).i64_const(1).i64_add().local_set(local);
                self.check();
            }
            Counting::Epochs if self.checks => {
                self.sink().global_get(global + 1).local_set(local);
                self.check();
            }
            Counting::Epochs => {
                let mut sink = self.sink();
                sink.global_get(global).global_get(global + 1).i64_ge_u();
                sink.if_(BlockType::Empty).call(check).end();
            }
        }
    }

    /// Lets the host decide when the time has come. Nothing is pending.
    fn check(&mut self) {
        let (check, global, local) = (self.moves.check(), self.moves.first_global(), self.local);
        self.checks = true;
        let counting = self.counting;
        let mut sink = self.sink();
        match counting {
            Counting::Fuel => {
                sink.local_get(local).i64_const(0).i64_ge_s();
                sink.if_(BlockType::Empty).local_get(local).call(check).local_set(local).end();
            }
            Counting::Epochs => {
                sink.global_get(global).local_get(local).i64_ge_u();
                sink.if_(BlockType::Empty).call(check).global_get(global + 1).local_set(local).end();
            }
        }
    }

    /// Adds what is pending to the local count.
    fn flush(&mut self) {
        let (local, units) = (self.local, mem::take(&mut self.pending));
        if self.counting == Counting::Fuel && units != 0 {
            self.sink().local_get(local).i64_const(units).i64_add().local_set(local);
        }
    }

    /// Puts the count and what is pending into the global. The local count is not used after that.
    fn save(&mut self) {
        let (global, local, units) = (self.moves.first_global(), self.local, mem::take(&mut self.pending));
        if self.counting == Counting::Fuel {
            let mut sink = self.sink();
            sink.local_get(local);
            if units != 0 {
                sink.i64_const(units).i64_add();
            }
            sink.global_set(global);
        }
    }

    /// Takes the count from the global.
    fn load(&mut self) {
        let (global, local) = (self.moves.first_global(), self.local);
        if self.counting == Counting::Fuel {
            self.sink().global_get(global).local_set(local);
        }
    }

    fn copy(&mut self, range: Range<usize>) -> Result<(), InstrumentError> {
        let bytes = self.source.get(range).ok_or(InstrumentError::Missing("operator"))?;
        self.code.extend_from_slice(bytes);
        Ok(())
    }

    fn encode(&mut self, op: Operator<'_>) -> Result<(), InstrumentError> {
        let instruction: Instruction<'_> = self.moves.instruction(op)?;
        instruction.encode(&mut self.code);
        Ok(())
    }

    fn sink(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.code)
    }
}
