;; Answers the system calls of WASI 0.1 with what a policy's host grants of WASI 0.2: the question's time, chance, and a
;; place to complain. Everything else is refused. Knows nothing of policies.
;;
;; It takes no memory. A runtime that grows its memory itself (Go's does) believes that nobody else does, and would use
;; what was taken. What the host has to write down is therefore written to the first 16 bytes, whose content is put back
;; before the call ends.
;;
;; Time stands still while a question is decided, so it is asked for at the start and when the program yields, and else
;; remembered: Go looks at its clock wherever its heap grows, also while the host waits for memory and may not be called.
(module
  (import "env" "memory" (memory 0))
  (import "wasi:clocks/wall-clock@0.2.0" "now" (func $wall_clock (param i32)))
  (import "wasi:random/random@0.2.0" "get-random-u64" (func $chance (result i64)))
  (import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))
  (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
    (func $write (param i32 i32 i32 i32)))

  ;; Nanoseconds since the Unix epoch; 0: not asked yet.
  (global $now (mut i64) (i64.const 0))
  ;; Where the numbers that follow from a seed have come to.
  (global $drawn (mut i64) (i64.const 0))
  ;; The stream's handle, once there is one.
  (global $console (mut i32) (i32.const -1))

  (func $look (local $first i64) (local $second i64)
    (local.set $first (i64.load (i32.const 0)))
    (local.set $second (i64.load (i32.const 8)))
    (call $wall_clock (i32.const 0))
    ;; Seconds and nanoseconds. Never 0: Go takes that for a clock that is broken.
    (global.set $now (i64.or (i64.const 1) (i64.add
      (i64.mul (i64.load (i32.const 0)) (i64.const 1000000000))
      (i64.load32_u (i32.const 8)))))
    (i64.store (i32.const 0) (local.get $first))
    (i64.store (i32.const 8) (local.get $second)))

  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $out i32) (result i32)
    (if (i64.eqz (global.get $now)) (then (call $look)))
    (i64.store (local.get $out) (global.get $now))
    (i32.const 0))

  (func (export "clock_res_get") (param $clock i32) (param $out i32) (result i32)
    (i64.store (local.get $out) (i64.const 1000000))
    (i32.const 0))

  (func (export "sched_yield") (result i32)
    (call $look)
    (i32.const 0))

  ;; Whatever is waited for has happened: files are ready, and time goes on by as much as was to be slept.
  ;; A subscription has 48 bytes: its name, at 8 its kind (0: a clock), of a clock at 24 the time and at 40 whether that
  ;; is a point in time. An event has 32: the name, at 8 the error, at 10 the kind.
  (func (export "poll_oneoff") (param $in i32) (param $out i32) (param $count i32) (param $counted i32) (result i32)
    (local $left i32)
    (if (i32.eqz (local.get $count)) (then (return (i32.const 28))))
    (local.set $left (local.get $count))
    (loop $next
      (i64.store (local.get $out) (i64.load (local.get $in)))
      (i64.store offset=8 (local.get $out) (i64.const 0))
      (i64.store offset=16 (local.get $out) (i64.const 0))
      (i64.store offset=24 (local.get $out) (i64.const 0))
      (i32.store8 offset=10 (local.get $out) (i32.load8_u offset=8 (local.get $in)))
      (if (i32.eqz (i32.load8_u offset=8 (local.get $in))) (then (call $pass
        (i64.load offset=24 (local.get $in))
        (i32.and (i32.load16_u offset=40 (local.get $in)) (i32.const 1)))))
      (local.set $in (i32.add (local.get $in) (i32.const 48)))
      (local.set $out (i32.add (local.get $out) (i32.const 32)))
      (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.store (local.get $counted) (local.get $count))
    (i32.const 0))

  (func $pass (param $time i64) (param $absolute i32)
    (if (i32.eqz (local.get $absolute))
      (then (local.set $time (i64.add (global.get $now) (local.get $time)))))
    (if (i64.gt_u (local.get $time) (global.get $now))
      (then (global.set $now (local.get $time)))))

  ;; The host gives one number a question. Those after it follow (SplitMix64, Steele and others, 2014).
  (func (export "random_get") (param $at i32) (param $length i32) (result i32)
    (local $seed i64) (local $number i64) (local $left i32)
    (local.set $seed (call $chance))
    (block $done (loop $byte
      (br_if $done (i32.eqz (local.get $length)))
      (if (i32.eqz (local.get $left)) (then
        (global.set $drawn (i64.add (global.get $drawn) (i64.const 0x9e3779b97f4a7c15)))
        (local.set $number (call $mixed (i64.add (local.get $seed) (global.get $drawn))))
        (local.set $left (i32.const 8))))
      (i64.store8 (local.get $at) (local.get $number))
      (local.set $number (i64.shr_u (local.get $number) (i64.const 8)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (local.set $length (i32.sub (local.get $length) (i32.const 1)))
      (br $byte)))
    (i32.const 0))

  (func $mixed (param $number i64) (result i64)
    (local.set $number (i64.mul (i64.const 0xbf58476d1ce4e5b9)
      (i64.xor (local.get $number) (i64.shr_u (local.get $number) (i64.const 30)))))
    (local.set $number (i64.mul (i64.const 0x94d049bb133111eb)
      (i64.xor (local.get $number) (i64.shr_u (local.get $number) (i64.const 27)))))
    (i64.xor (local.get $number) (i64.shr_u (local.get $number) (i64.const 31))))

  ;; Standard output and standard error are one. A list entry has 8 bytes: where the text is, and its length.
  (func (export "fd_write") (param $fd i32) (param $list i32) (param $entries i32) (param $written i32) (result i32)
    (local $all i32) (local $length i32)
    (if (i32.and (i32.ne (local.get $fd) (i32.const 1)) (i32.ne (local.get $fd) (i32.const 2)))
      (then (return (i32.const 8))))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $entries)))
      (local.set $length (i32.load offset=4 (local.get $list)))
      (call $say (i32.load (local.get $list)) (local.get $length))
      (local.set $all (i32.add (local.get $all) (local.get $length)))
      (local.set $list (i32.add (local.get $list) (i32.const 8)))
      (local.set $entries (i32.sub (local.get $entries) (i32.const 1)))
      (br $next)))
    (i32.store (local.get $written) (local.get $all))
    (i32.const 0))

  ;; In pieces, of which the host takes no larger ones.
  (func $say (param $at i32) (param $length i32) (local $piece i32) (local $first i64) (local $second i64)
    (if (i32.eq (global.get $console) (i32.const -1)) (then (global.set $console (call $stderr))))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $length)))
      (local.set $piece (select (local.get $length) (i32.const 4096)
        (i32.lt_u (local.get $length) (i32.const 4096))))
      (local.set $first (i64.load (i32.const 0)))
      (local.set $second (i64.load (i32.const 8)))
      (call $write (global.get $console) (local.get $at) (local.get $piece) (i32.const 0))
      (i64.store (i32.const 0) (local.get $first))
      (i64.store (i32.const 8) (local.get $second))
      (local.set $at (i32.add (local.get $at) (local.get $piece)))
      (local.set $length (i32.sub (local.get $length) (local.get $piece)))
      (br $next))))

  ;; There is nothing to read.
  (func (export "fd_read") (param $fd i32) (param $list i32) (param $entries i32) (param $read i32) (result i32)
    (if (local.get $fd) (then (return (i32.const 8))))
    (i32.store (local.get $read) (i32.const 0))
    (i32.const 0))

  ;; The three standard streams are terminals with every right; there is nothing else.
  (func (export "fd_fdstat_get") (param $fd i32) (param $out i32) (result i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (i32.const 8))))
    (i64.store (local.get $out) (i64.const 2))
    (i64.store offset=8 (local.get $out) (i64.const -1))
    (i64.store offset=16 (local.get $out) (i64.const 0))
    (i32.const 0))
  (func (export "fd_fdstat_set_flags") (param $fd i32) (param i32) (result i32)
    (select (i32.const 8) (i32.const 0) (i32.gt_u (local.get $fd) (i32.const 2))))

  ;; No arguments, no environment.
  (func $none (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $bytes) (i32.const 0))
    (i32.const 0))
  (func $nothing (param i32 i32) (result i32) (i32.const 0))
  (export "args_sizes_get" (func $none))
  (export "environ_sizes_get" (func $none))
  (export "args_get" (func $nothing))
  (export "environ_get" (func $nothing))

  (func (export "proc_exit") (param i32) (unreachable))

  ;; What is left: there is no such file (8), and no other way to anything (58).
  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_allocate") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_close") (param i32) (result i32) (i32.const 8))
  (func (export "fd_datasync") (param i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_renumber") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_sync") (param i32) (result i32) (i32.const 8))
  (func (export "fd_tell") (param i32 i32) (result i32) (i32.const 8))
  (func (export "path_create_directory") (param i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 58))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 58))
  (func (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_remove_directory") (param i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "path_unlink_file") (param i32 i32 i32) (result i32) (i32.const 58))
  (func (export "proc_raise") (param i32) (result i32) (i32.const 58))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (i32.const 58))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (i32.const 58))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (i32.const 58)))
