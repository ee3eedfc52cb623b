"""A learned loss in the Hugging Face Trainer: python examples/with_transformers.py [loss.json]."""

import sys
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from evomal import load_loss

file = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("learned_loss.json")
loss = load_loss(file, reduction="sum")


def compute_loss(outputs, labels, num_items_in_batch=None):
    # Of gradient accumulation the Trainer gives the number of labels in all pieces, and divides by nothing itself.
    count = (labels != -100).sum() if num_items_in_batch is None else num_items_in_batch
    return loss(outputs["logits"], labels) / count


torch.manual_seed(0)
words = torch.randint(20, (400, 8))
labels = (words == 7).any(1).long()  # does word 7 occur?
rows = [{"input_ids": w, "labels": label} for w, label in zip(words, labels, strict=True)]
tiny = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
model = BertForSequenceClassification(BertConfig(vocab_size=20, **tiny))
wanted = TrainingArguments(num_train_epochs=8, learning_rate=5e-3, report_to="none", save_strategy="no")
Trainer(model, wanted, train_dataset=rows, compute_loss_func=compute_loss).train()
print(f"error {(model.eval()(input_ids=words).logits.argmax(1) != labels).float().mean():.3f}")
