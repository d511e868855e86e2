/*
 * PID 1 of the lab's guest: mount the host's run directory on /lab, run its guest-init, power off.
 * It reaps orphans like any init, so that containers behave as on a real host.
 * The kernel hands "lab_dir=..." of its command line to us as an environment variable.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    pid_t child = fork();
    if (child == 0) {
        setsid();
        execl("/bin/bash", "bash", "-c",
              "mount -t hostfs -o \"hostfs=$lab_dir\" lab /lab && exec bash /lab/guest-init", NULL);
        perror("exec /bin/bash");
        _exit(127);
    }
    for (;;) {
        pid_t pid = wait(NULL);
        if (pid == child || (pid < 0 && errno == ECHILD))
            break;
    }
    /* What is left must not write while the disks and the host's directories are flushed. */
    kill(-1, SIGKILL);
    while (wait(NULL) > 0)
        ;
    sync();
    reboot(RB_POWER_OFF);
    for (;;)
        pause();
}
