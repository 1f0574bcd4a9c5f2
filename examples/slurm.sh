#!/bin/bash
# Sixteen workers at one study, as a Slurm array:
#
#     export SPIKFORMER_STORAGE=postgresql+psycopg://nas@db.cluster:5432/nas    # the password is in ~/.pgpass
#     sbatch examples/slurm.sh
#
# Each task is the same command; the study's storage is where they meet. Tasks may be preempted, requeued and added: each
# network is trained once at each rung. On one machine with several GPUs no array is needed: --workers 8, and the journal
# in results/ instead of a database. docs/cluster.md has more.

#SBATCH --job-name=spikformer-nas
#SBATCH --array=0-15
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@60

set -euo pipefail
: "${SPIKFORMER_STORAGE:?names the database in which the workers meet}"

# `exec` gives SIGTERM to the worker itself, which then hands its training back to the others.
exec python -m nas search \
    --space spikformer_small \
    --trials 500 \
    --data-dir "${DATA_DIR:-/scratch/cifar10}" \
    --results-dir "${RESULTS_DIR:-/shared/results}"
