// The spawner as a program of its own: a small one forks several times faster than the worker's file would.
// CSandbox takes over before main; whoever starts this by hand learns what it is.
#include <unistd.h>

#include "CSandbox.h"

int main(void) {
    static const char words[] =
        "This is started by penstock to build the sandboxes of skills: see penstock sandbox run\n";
    // Nobody is left to tell if even this fails.
    return write(STDERR_FILENO, words, sizeof words - 1) < 0 ? 1 : 2;
}
