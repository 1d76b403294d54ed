// Parts of Linux's C interface that Swift's Glibc module leaves out.
//
// Without _GNU_SOURCE: with it, types such as fd_set differ from those in Swift's own Glibc module, and the
// compiler refuses to mix them. What only _GNU_SOURCE declares is declared by hand below.
#pragma once
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#ifndef O_PATH
#define O_PATH 010000000
#endif
int accept4(int socket, struct sockaddr *address, socklen_t *length, int flags);
#define CLOSE_RANGE_CLOEXEC 4
int close_range(unsigned first, unsigned last, int flags);
#define MFD_CLOEXEC 1U
int memfd_create(const char *name, unsigned int flags);
int pipe2(int ends[2], int flags);
int pthread_setname_np(pthread_t thread, const char *name);
