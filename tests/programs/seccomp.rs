//! Filters of system calls (`seccomp(2)`), for this process and all it starts.

#![allow(dead_code, reason = "no program needs all of it")]

/// The offset of the lower half of the first argument in `struct seccomp_data`, little-endian.
const FIRST_ARGUMENT: u32 = 16;

/// Lets `clone3` fail with ENOSYS, as the default filters of container runtimes do.
pub(crate) fn deny_clone3() {
    install(&mut [
        load(0),
        jump(libc::BPF_JEQ, libc::SYS_clone3 as u32, 0, 1),
        return_value(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        return_value(libc::SECCOMP_RET_ALLOW),
    ]);
}

/// Lets every call fail that forks a sibling: `clone3`, and `clone` with `CLONE_PARENT`.
pub(crate) fn deny_siblings() {
    deny_clone3();
    install(&mut [
        load(0),
        jump(libc::BPF_JEQ, libc::SYS_clone as u32, 0, 3),
        load(FIRST_ARGUMENT),
        jump(libc::BPF_JSET, libc::CLONE_PARENT as u32, 0, 1),
        return_value(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        return_value(libc::SECCOMP_RET_ALLOW),
    ]);
}

fn load(offset: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

fn jump(condition: u32, value: u32, if_true: u8, if_false: u8) -> libc::sock_filter {
    instruction(
        libc::BPF_JMP | condition | libc::BPF_K,
        if_true,
        if_false,
        value,
    )
}

fn return_value(action: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, action)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

fn install(program: &mut [libc::sock_filter]) {
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the arguments are integers.
    let no_new_privileges = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: `filter` has the address and the length of `program`, which lives until the call returns.
    let filtered = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    assert_eq!((no_new_privileges, filtered), (0, 0));
}
