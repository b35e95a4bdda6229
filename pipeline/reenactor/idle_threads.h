// How OpenMP's threads, which libtorch computes with, wait for each other.
#pragma once

namespace reenact {

// OpenMP's threads spin while they wait. Beside other work, other jobs' threads included, that
// takes the processor from whoever has something to do. OpenMP reads its environment before main()
// begins, so this starts the program anew (same process, same arguments) with
// OMP_WAIT_POLICY=passive, and then returns. What the environment says already about waiting
// counts. Call it first in main(); where a program cannot start itself it goes on as it is.
void LetIdleThreadsSleep(char** argv);

}  // namespace reenact
