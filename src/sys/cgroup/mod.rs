//! A control group for each child, so that all below the child can be killed at once (`cgroups(7)`, version 2).
//!
//! The application makes a group below its own for each child ([`ChildCgroup`]), where that is allowed
//! ([`Delegation`]). The child enters its group before it runs anything of the user's ([`enter`]). All that it starts
//! is in that group, whatever group or session of processes it leads and whatever parent it has, also when the child
//! has ended. The kernel kills a whole group by one write to `cgroup.kill` (Linux 5.14), also while its processes fork.
//!
//! A group is a directory, which stays when its processes end. The application removes it when the child was reaped.
//! When the application has ended, its fork server does ([`end_all_of`]), or the next application that makes groups at
//! the same place ([`Delegation::find`]). The application holds a lock on the directory of each of its groups
//! (`flock(2)`). So a group whose lock is free belongs to an application that has ended.
//!
//! Never here: whose child is killed, and when. No file of the kernel's but those of groups that have the names of this
//! crate is written.

mod child_cgroup;
mod delegation;
mod group;
mod own_group;

pub(crate) use child_cgroup::{ChildCgroup, enter, outer};
pub(crate) use delegation::Delegation;
pub(crate) use group::end_all_of;
