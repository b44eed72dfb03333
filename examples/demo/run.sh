#!/usr/bin/env bash
# The whole way of an ECG on a simulated cohort, in about four minutes on two cores and without a network:
# simulate, convert, embed the reports, pre-train, fine-tune with and without pre-training on 5 % of the labels,
# compare, and load the result back in an interpreter that knows nothing of this project.
#
# Usage: examples/demo/run.sh [FOLDER]      (default build/demo)
set -euo pipefail
out=${1:-build/demo}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # such a small network runs faster on one thread than on two
export HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1 TQDM_DISABLE=1

step() { printf '\n%d:%02d  %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$1"; }

show() { # PATTERN: lines that match, as soon as they come, without their time and cut short
    local line
    while IFS= read -r line; do
        [[ $line =~ $1 ]] || continue
        [[ $line =~ ^[0-9]+:[0-9]+:[0-9]+\ (.*) ]] && line=${BASH_REMATCH[1]}
        line=${line%%, ecg_to_text*}
        line=${line#"${line%%[! ]*}"}
        printf '%s\n' "${line:+      $line}"
    done
}

run() { # LOG PATTERN COMMAND...: all that it says goes into a log, lines that match to the terminal
    local log=$out/logs/$1.log pattern=$2 status
    shift 2
    set +e
    "$@" 2>&1 | tee "$log" | show "$pattern"
    status=${PIPESTATUS[0]}
    set -e
    if [ "$status" != 0 ]; then
        tail -n 20 "$log"
        echo "this step failed; all that it said is in $log"
        exit "$status"
    fi
}

rm -rf "$out"
mkdir -p "$out/logs"

step "1/7 simulate 8,000 ECGs with reports (prevalences three times CODE-15%'s)"
run 1-simulate "simulated exams" \
    python -m data_scripts.simulate --output_dir "$out/raw" --num_exams 8000 --seed 0 --prevalence_scale 3 --num_proc 2

step "2/7 convert them to an exam table"
run 2-convert "found =|train:|validation:|test:|^ *diagnosis words left" \
    python -m data_scripts.code15 --source_dir "$out/raw" --reports "$out/raw/reports.csv" \
    --output_dir "$out/exams" --num_proc 2

step "3/7 embed the reports' descriptions with a small text encoder made on the spot"
run 3-text-model "text encoder" \
    python -m data_scripts.make_text_model --dataset_name_or_path "$out/exams" --output_dir "$out/text_model"
run 3-embed "distinct reports" \
    python -m data_scripts.embed_reports --dataset_name_or_path "$out/exams" --text_model_name_or_path "$out/text_model"

# One process needs no `accelerate launch`.
shown="parameters trained|patients in two splits|step [0-9]+, validation"
step "4/7 stage 1: pre-train the ECG encoder against the report embeddings"
run 4-pretrain "$shown" python train_clip.py \
    --dataset_name_or_path "$out/exams" --text_model_name_or_path "$out/text_model" --center_text \
    --encoder_preset tiny --per_device_train_batch_size 128 --learning_rate 2e-3 --warmup_steps 50 \
    --max_train_steps 600 --eval_steps 100 --checkpointing_steps no --output_dir "$out/hub/clip"

fine_tune() { # LOG FLAGS...: the same recipe and number of steps for both arms
    run "$1" "exams in train|$shown" python train_cls.py \
        --dataset_name_or_path "$out/exams" --train_fraction 0.05 --encoder_preset tiny --learning_rate 1e-3 \
        --warmup_steps 50 --max_train_steps 600 --eval_steps 100 --checkpointing_steps no "${@:2}"
}

step "5/7 stage 2 on 5 % of the labels, from random weights (the baseline)"
fine_tune 5-from-random --output_dir "$out/hub/cls-from-random"

step "6/7 stage 2 on the same 5 %, from the pre-trained encoder"
fine_tune 6-from-clip --output_dir "$out/hub/cls-from-clip" --model_name_or_path "$out/hub/clip"

step "7/7 compare, and use the result in an interpreter that cannot import this project"
run 7-compare "^" python -m examples.demo.compare --clip "$out/hub/clip" \
    --runs "$out/hub/cls-from-random" "$out/hub/cls-from-clip" --source_dir "$out/raw" --output_file "$out/example.json"
run 7-classify "exam |[01][.][0-9]" python examples/demo/classify.py --model_dir "$out/hub/cls-from-clip" \
    --example "$out/example.json" --figure "$out/ecg.png"

step "done. What there is now:"
cat <<END
      $out/hub/cls-from-clip/README.md   the model's card; its folder loads with one line
      $out/ecg.png   that ECG with its probabilities; $out/hub/*/*.png: loss, retrieval, calibration
      $out/logs   all that the commands said
Next:
      make app   a page that reads ECGs, with the default models; with this one:
      ECGCLIP_MODEL=$out/hub/cls-from-clip make app
      docs/own_data.md   the same with your own recordings; docs/reproduce.md: which start is better
END
