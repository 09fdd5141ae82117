//! The handler of the signals by which a process crashes: it leaves a note about the crash, and the signal still ends
//! the process.
//!
//! Runs in children, on the thread that crashes. A fork server installs it once, and its forks inherit it.
//!
//! Must stay true:
//! - A handler that a library had installed before stays, and what a task installs later takes the place of this one.
//!   Only the handler of `std` for stack overflows is replaced; it runs after the note, and prints its message.
//! - The process ends as it would have ended: by the same signal, with a core dump. A fault of the processor comes once
//!   more, because its instruction is executed again; other signals are sent again.
//! - A crash inside the handler ends the process by the first signal, with as much of the note as there is.
//! - Of two threads that crash at once, the first writes the note, and the second waits.
//!
//! # Safety
//!
//! The handler makes only calls that `signal-safety(7)` allows, bare system calls, and calls of `unwind` and `objects`,
//! whose documentation says why they are safe here. It allocates nothing. It runs on an alternate stack, so that there
//! is room after an overflow. The structures that it is given are the kernel's, of which it reads what the flag
//! `SA_SIGINFO` and the architecture promise.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::io;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use super::crash_note::{Fault, NoteWriter};
use super::{objects, out_of_memory, unwind};

/// The signals by which a process crashes.
pub(crate) const CRASH_SIGNALS: [i32; 6] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
    libc::SIGSYS,
];

/// How far below the stack pointer, and above it, an access may be that has found the end of the stack. The compiler
/// makes a function with a large frame touch each page of it; other compilers may not.
const BELOW_STACK: usize = 64 << 10;
const ABOVE_STACK: usize = 4 << 10;

/// How long a thread that crashes waits for another that crashes, in milliseconds.
const WAIT_FOR_OTHER: u32 = 2_000;

/// So often the handler may crash before the process exits.
const MOST_CRASHES: u32 = 3;

/// Where this process leaves its note.
static NOTE_PLACE: OnceLock<&'static [AtomicU64]> = OnceLock::new();
/// The process that leaves it. A copy that a task makes (`fork`) leaves none.
static PROCESS: AtomicI32 = AtomicI32::new(0);

/// The thread that writes the note; 0 before any does.
static WRITER: AtomicI32 = AtomicI32::new(0);
/// The signal that the note is about, while it is written.
static WRITING: AtomicI32 = AtomicI32::new(0);
/// How often the writer has crashed since.
static CRASHES: AtomicU32 = AtomicU32::new(0);

/// The handler of `std`, which was there before.
static HANDLER_OF_STD: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs the handler, where there is no other, and gives the calling thread an alternate stack.
pub(crate) fn install() {
    prepare();
    let previous = CRASH_SIGNALS.map(|signal| (signal, replace(signal, &action())));
    let of_std = handler_of_std(&previous);
    if let Some(of_std) = of_std {
        let _ = HANDLER_OF_STD.set(of_std);
    }
    for (signal, previous) in previous {
        let is_of_std = of_std.is_some_and(|it| it.sa_sigaction == previous.sa_sigaction);
        if previous.sa_sigaction != libc::SIG_DFL && !is_of_std {
            replace(signal, &previous);
        }
    }
    use_stack(&STACK_OF_MAIN);
}

/// Gives the calling thread, which runs tasks and is not the main thread, an alternate stack.
pub(crate) fn use_stack_of_tasks() {
    use_stack(&STACK_OF_TASKS);
}

/// Leaves the note about a crash of this process in `words` from here on.
pub(crate) fn leave_note_in(words: &'static [AtomicU64]) {
    let _ = NOTE_PLACE.set(words);
    PROCESS.store(process(), Ordering::Release);
}

/// Makes an abort of this process for want of memory leave that as its cause.
pub(crate) fn report_out_of_memory() -> io::Result<()> {
    out_of_memory::report();
    let action = action();
    // SAFETY: reads one structure, whose handler has the signature that its flags ask for.
    match unsafe { libc::sigaction(libc::SIGABRT, &raw const action, null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has looked up what is needed in the handler.
fn prepare() {
    objects::prepare();
    // The first walk looks symbols up.
    unwind::walk(&mut |place| objects::find(place).is_some());
}

/// The handler of `std`: it is for two signals, and for no other (`std::sys::pal::unix::stack_overflow`). Those of
/// sanitizers, language runtimes and crash reporters are for more, or for one.
fn handler_of_std(previous: &[(i32, libc::sigaction); 6]) -> Option<libc::sigaction> {
    let [(_, segv), (_, bus), others @ ..] = previous;
    let is_alone = others
        .iter()
        .all(|(_, it)| it.sa_sigaction == libc::SIG_DFL);
    let is_handler = !matches!(segv.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN);
    (is_alone && is_handler && segv.sa_sigaction == bus.sa_sigaction).then_some(*segv)
}

fn no_action() -> libc::sigaction {
    // SAFETY: all-zero is the default action with no flags and an empty mask.
    unsafe { std::mem::zeroed() }
}

fn action() -> libc::sigaction {
    let mut action = no_action();
    action.sa_sigaction = on_crash as *const () as usize;
    // A crash in the handler comes to the handler.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    action
}

/// Sets the action for the signal. Returns the earlier action.
fn replace(signal: i32, action: &libc::sigaction) -> libc::sigaction {
    let mut previous = no_action();
    // SAFETY: reads and stores one structure; a handler has the signature that its flags ask for.
    unsafe { libc::sigaction(signal, action, &raw mut previous) };
    previous
}

/// Memory for an alternate stack, in no file and untouched until a crash.
#[repr(align(16))]
struct AlternateStack(UnsafeCell<[u8; ALTERNATE_BYTES]>);

/// More than unwinding takes, and the registers of the largest processors, twice.
const ALTERNATE_BYTES: usize = 64 << 10;

// SAFETY: only the kernel and handlers use the memory, and one thread has given it to the kernel.
unsafe impl Sync for AlternateStack {}

static STACK_OF_MAIN: AlternateStack = AlternateStack(UnsafeCell::new([0; ALTERNATE_BYTES]));
static STACK_OF_TASKS: AlternateStack = AlternateStack(UnsafeCell::new([0; ALTERNATE_BYTES]));

fn use_stack(stack: &'static AlternateStack) {
    let stack = libc::stack_t {
        ss_sp: stack.0.get().cast(),
        ss_flags: 0,
        ss_size: ALTERNATE_BYTES,
    };
    // It fails only on a thread that uses an alternate stack now. SAFETY: the memory is never freed.
    unsafe { libc::sigaltstack(&raw const stack, null_mut()) };
}

/// What a thread does that crashes.
enum CrashTurn {
    /// It writes the note.
    Write(&'static [AtomicU64]),
    /// It ends the process: the note was written, or there is none.
    End,
    /// It was writing the note about this signal, by which it ends the process.
    EndBy(i32),
    /// It ends the process without any signal.
    Exit,
    /// It waits: another thread writes the note, and ends the process.
    Wait,
}

fn turn(signal: i32) -> CrashTurn {
    let Some(words) = NOTE_PLACE
        .get()
        .filter(|_| PROCESS.load(Ordering::Acquire) == process())
    else {
        return CrashTurn::End;
    };
    let me = thread();
    match WRITER.compare_exchange(0, me, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            WRITING.store(signal, Ordering::Release);
            CrashTurn::Write(words)
        }
        Err(writer) if writer != me => CrashTurn::Wait,
        Err(_) if CRASHES.fetch_add(1, Ordering::AcqRel) >= MOST_CRASHES => CrashTurn::Exit,
        Err(_) => match WRITING.load(Ordering::Acquire) {
            0 => CrashTurn::End,
            first => CrashTurn::EndBy(first),
        },
    }
}

extern "C" fn on_crash(signal: i32, info: *const libc::siginfo_t, context: *const libc::c_void) {
    let errno = out_of_memory::errno();
    // SAFETY: the kernel's description of the signal, valid during this call.
    let info = unsafe { &*info };
    let code = info.si_code;
    let is_fault = is_fault(signal, code);
    match turn(signal) {
        CrashTurn::Write(words) => {
            if signal == libc::SIGABRT {
                out_of_memory::on_abort(errno);
            }
            // SAFETY: the code says that the description has an address.
            let address = has_address(signal, code).then(|| unsafe { info.si_addr() }.addr());
            // SAFETY: the kernel's copy of the registers, valid during this call.
            let registers = unsafe { Registers::of(context) };
            write_note(words, signal, address, registers);
            WRITING.store(0, Ordering::Release);
        }
        CrashTurn::End => {}
        CrashTurn::EndBy(first) => return end(first, false),
        // SAFETY: ends the process; allowed in a handler.
        CrashTurn::Exit => unsafe { libc::_exit(128 + signal) },
        CrashTurn::Wait => wait(),
    }
    end(signal, is_fault);
}

/// Whether the processor has raised the signal, for an instruction that is executed again.
fn is_fault(signal: i32, code: i32) -> bool {
    let by_processor = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];
    code > 0 && by_processor.contains(&signal)
}

/// Whether the signal comes with an address. That of a general protection fault is unknown.
fn has_address(signal: i32, code: i32) -> bool {
    /// "Sent by the kernel", and nothing more is known (`sigaction(2)`).
    const SI_KERNEL: i32 = 0x80;
    is_fault(signal, code) && code != SI_KERNEL
}

fn write_note(
    words: &'static [AtomicU64],
    signal: i32,
    address: Option<usize>,
    registers: Registers,
) {
    let stack = registers.stack;
    let near_stack = stack.saturating_sub(BELOW_STACK)..stack.saturating_add(ABOVE_STACK);
    let accessed = matches!(signal, libc::SIGSEGV | libc::SIGBUS);
    let fault = Fault {
        signal,
        address,
        is_stack_overflow: accessed && address.is_some_and(|it| near_stack.contains(&it)),
    };
    let mut note = NoteWriter::begin(words, fault);
    // At once: the stack may be in such a state that the walk crashes.
    note.add(registers.instruction);
    if accessed && address == Some(registers.instruction) {
        // A call through a bad pointer. The unwinder would read the instruction.
        if let Some(caller) = registers.caller() {
            note.add(caller.wrapping_sub(1));
        }
        return;
    }
    let mut is_below = false;
    unwind::walk(&mut |place| match is_below {
        true => note.add(place),
        // Before it are the frames of this handler.
        false => {
            is_below = place == registers.instruction;
            true
        }
    });
}

/// Waits until another thread has ended the process, but not for ever.
fn wait() {
    for _ in 0..WAIT_FOR_OTHER {
        // SAFETY: waits a millisecond for no descriptor; allowed in a handler.
        unsafe { libc::poll(null_mut(), 0, 1) };
    }
}

/// Has the signal end this process, when the handler returns at the latest.
fn end(signal: i32, is_fault: bool) {
    let of_std = HANDLER_OF_STD.get();
    let of_std = of_std.filter(|_| is_fault && [libc::SIGSEGV, libc::SIGBUS].contains(&signal));
    replace(signal, of_std.unwrap_or(&no_action()));
    if !is_fault {
        // Not by `raise`, which knows the wrong thread in a fork before glibc 2.34. SAFETY: takes integers.
        unsafe { libc::syscall(libc::SYS_tgkill, process(), thread(), signal) };
    }
}

fn process() -> i32 {
    // SAFETY: takes and returns integers; allowed in a handler.
    unsafe { libc::getpid() }
}

fn thread() -> i32 {
    // SAFETY: likewise.
    unsafe { libc::gettid() }
}

/// The registers of a thread that a signal has interrupted.
#[derive(Debug, Clone, Copy)]
struct Registers {
    instruction: usize,
    stack: usize,
    /// The return address, if the architecture keeps it in a register.
    link: Option<usize>,
}

impl Registers {
    /// # Safety
    ///
    /// `context` is the third argument of a handler.
    unsafe fn of(context: *const libc::c_void) -> Self {
        // SAFETY: of this type by the caller's promise.
        let context = unsafe { &*context.cast::<libc::ucontext_t>() };
        let registers = &context.uc_mcontext;
        #[cfg(target_arch = "x86_64")]
        let (instruction, stack, link) = (
            registers.gregs[libc::REG_RIP as usize] as usize,
            registers.gregs[libc::REG_RSP as usize] as usize,
            None,
        );
        #[cfg(target_arch = "aarch64")]
        let (instruction, stack, link) = (
            registers.pc as usize,
            registers.sp as usize,
            Some(registers.regs[30] as usize),
        );
        Self {
            instruction,
            stack,
            link,
        }
    }

    /// The return address of a call that has led to no function.
    fn caller(&self) -> Option<usize> {
        if self.link.is_some() {
            return self.link;
        }
        let top: *const usize = std::ptr::with_exposed_provenance(self.stack);
        if top.is_null() || self.stack % size_of::<usize>() != 0 {
            return None;
        }
        // SAFETY: the call has just written there. If the stack is none, this crashes in the handler, which ends the
        // process by the first signal.
        Some(unsafe { top.read_volatile() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handlers(of: [usize; 6]) -> [(i32, libc::sigaction); 6] {
        let mut number = 0;
        of.map(|handler| {
            let mut action = no_action();
            action.sa_sigaction = handler;
            number += 1;
            (CRASH_SIGNALS[number - 1], action)
        })
    }

    #[test]
    fn handler_of_std_is_for_two_signals() {
        let (none, own, other) = (libc::SIG_DFL, 0x1000, 0x2000);
        let is_of_std = |of| handler_of_std(&handlers(of)).is_some();
        assert!(is_of_std([own, own, none, none, none, none]));
        for handlers in [
            [none; 6],
            [own, other, none, none, none, none],
            [own, none, none, none, none, none],
            [own, own, none, own, none, none],
            [own; 6],
            [libc::SIG_IGN, libc::SIG_IGN, none, none, none, none],
        ] {
            assert!(!is_of_std(handlers));
        }
    }

    #[test]
    fn address_is_of_faults_that_have_one() {
        const SENT: i32 = libc::SI_TKILL;
        assert!(has_address(libc::SIGSEGV, 1) && has_address(libc::SIGFPE, 1));
        assert!(!has_address(libc::SIGSEGV, 0x80) && is_fault(libc::SIGSEGV, 0x80));
        assert!(!is_fault(libc::SIGSEGV, SENT) && !is_fault(libc::SIGABRT, SENT));
        // The kernel has executed the call in another way, and continues behind it.
        assert!(!is_fault(libc::SIGSYS, 1));
    }
}
