#!/bin/bash
# `xfelflow process` as a batch job that is queued again, and goes on where it was, when it had to
# give way or its time was over:
#
#   sbatch --account=A --qos=preempt profiles/slurm/process.sh /data/run14 --out run14 --merge
#
#SBATCH --job-name=xfelflow
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --time=60
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:INT@60

most_starts=100

# When the job ends, for the ranks. Slurm says so itself from version 23.02 on.
: "${SLURM_JOB_END_TIME:=$(date -d "$(squeue --noheader --job "$SLURM_JOB_ID" --format %e)" +%s)}"
export SLURM_JOB_END_TIME

# One rank hands out the work.
xfelflow process --ranks $((SLURM_NTASKS - 1)) "$@" &
app=$!
# INT: it must give way, or its time is over. TERM: scancel, after which it must not come back.
trap 'told=yes; kill -INT $app' INT
trap 'told=yes cancelled=yes; kill -INT $app' TERM
wait $app
code=$?
while [ -n "$told" ]; do # a trap ends `wait` early
  told=
  wait $app 2> /dev/null
  last=$?
  [ $last = 127 ] || code=$last # 127: it had ended before
done

again=75
if [ $code = $again ] && [ -z "$cancelled" ] && [ "${SLURM_RESTART_COUNT:-0}" -lt $most_starts ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
