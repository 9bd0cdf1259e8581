"""Writes test/golden/huggingface/<type>: tiny seeded models of Hugging Face's transformers, their tokenizers, outputs and gradients.

    python3 test/golden/make-huggingface.py        (transformers 5.18.0, torch 2.13.0, tokenizers 0.23.2, safetensors 0.8.0)

A folder is what save_pretrained writes (config.json, model.safetensors, tokenizer files), except that one file holds the tensors of
every head. expected.json holds inputs, outputs by head, gradients of the head's loss, and ids of texts by transformers' own tokenizer.
"""
import json
import pathlib
import shutil

import torch
import transformers as hf
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

OUT = pathlib.Path(__file__).parent / 'huggingface'
TEXTS = [
    'the quick brown fox jumps over the lazy dog',
    'Hello, World! It\'s 7 o\'clock (or 8).',
    '  two  spaces\tand a tab\n\nnew lines ',
    'Caf\u00e9 na\u00efve \u00c5ngstr\u00f6m \u0130stanbul stra\u00dfe',
    '\u4e2d\u6587\u5b57 and \ud55c\uad6d\uc5b4 \u3053\u3093\u306b\u3061\u306f',
    'emoji \U0001f600\U0001f468\u200d\U0001f469 zero\u200bwidth',
    'x' * 120,
    'don\'t we\'ll I\'m they\'ve 12345 3.14 a-b_c',
    '',
    '[MASK] <mask> <|endoftext|> the',
]
CORPUS = ['the quick brown fox jumps over the lazy dog', 'hello world it is seven clock or eight', 'two spaces and a tab new lines',
          'the dog and the fox are in the brown box over there', 'do not we will they have one two three']
LETTERS = 'abcdefghijklmnopqrstuvwxyz'


def wordpieces():
    words = ['the', 'quick', 'brown', 'fox', 'over', 'dog', 'hello', 'world', 'it', 'two', 'and', 'new', 'jump', '##s', '##ing', 'la', '##zy']
    marks = list('!,.\'()0123456789-_') + ['\u4e2d']
    return (['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'] + marks + words + list(LETTERS)
            + [f'##{c}' for c in LETTERS if f'##{c}' not in words])


def byte_level():
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=290, special_tokens=[], initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    bpe.train_from_iterator(CORPUS, trainer)
    return json.loads(bpe.to_str())['model']


def write(folder, name, value):
    (folder / name).write_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), encoding='utf-8')


def bert_tokenizer(folder):  # the old form: vocab.txt alone
    write(folder, 'vocab.txt', '\n'.join(wordpieces()) + '\n')
    write(folder, 'tokenizer_config.json', {'do_lower_case': True, 'model_max_length': 32, 'tokenizer_class': 'BertTokenizer'})
    return len(wordpieces())


def distilbert_tokenizer(folder):  # cased, as tokenizer.json
    vocab = {w: i for i, w in enumerate(wordpieces())}
    t = Tokenizer(models.WordPiece(vocab, unk_token='[UNK]'))
    t.normalizer = normalizers.BertNormalizer(lowercase=False)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.post_processor = processors.BertProcessing(('[SEP]', vocab['[SEP]']), ('[CLS]', vocab['[CLS]']))
    t.decoder = decoders.WordPiece()
    t.add_special_tokens(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'])
    t.save(str(folder / 'tokenizer.json'))
    write(folder, 'tokenizer_config.json', {'do_lower_case': False, 'model_max_length': 32, 'tokenizer_class': 'DistilBertTokenizer'})
    return len(vocab)


def gpt2_tokenizer(folder):  # the old form: vocab.json and merges.txt
    model = byte_level()
    vocab = {**model['vocab'], '<|endoftext|>': len(model['vocab'])}
    write(folder, 'vocab.json', vocab)
    write(folder, 'merges.txt', '#version: 0.2\n' + '\n'.join(' '.join(m) for m in model['merges']) + '\n')
    write(folder, 'tokenizer_config.json', {'model_max_length': 32, 'tokenizer_class': 'GPT2Tokenizer'})
    return len(vocab)


def roberta_tokenizer(folder):
    model = byte_level()
    vocab = {'<s>': 0, '<pad>': 1, '</s>': 2, '<unk>': 3}
    for token in model['vocab']:
        vocab[token] = len(vocab)
    vocab['<mask>'] = len(vocab)
    t = Tokenizer(models.BPE(vocab, [tuple(m) for m in model['merges']]))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.post_processor = processors.RobertaProcessing(('</s>', 2), ('<s>', 0), trim_offsets=True, add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(['<s>', '<pad>', '</s>', '<unk>', '<mask>'])
    t.save(str(folder / 'tokenizer.json'))
    write(folder, 'tokenizer_config.json', {'model_max_length': 32, 'tokenizer_class': 'RobertaTokenizer'})
    return len(vocab)


def albert_tokenizer(folder):
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=80, special_tokens=['<pad>', '<unk>', '[CLS]', '[SEP]', '[MASK]'], unk_token='<unk>', show_progress=False)
    t.train_from_iterator(CORPUS, trainer)
    t.post_processor = processors.TemplateProcessing(single='[CLS] $A [SEP]', pair='[CLS] $A [SEP] $B:1 [SEP]:1', special_tokens=[('[CLS]', 2), ('[SEP]', 3)])
    t.decoder = decoders.Metaspace()
    t.save(str(folder / 'tokenizer.json'))
    write(folder, 'tokenizer_config.json', {'model_max_length': 32, 'tokenizer_class': 'PreTrainedTokenizerFast'})  # AlbertTokenizer would build another one
    return t.get_vocab_size()


LABELS = {'id2label': {0: 'ham', 1: 'spam', 2: 'else'}, 'label2id': {'ham': 0, 'spam': 1, 'else': 2}}
SIZES = {'hidden_size': 16, 'num_hidden_layers': 2, 'num_attention_heads': 2, 'intermediate_size': 24, 'max_position_embeddings': 32, 'initializer_range': 0.25}
TYPES = {
    'bert': (bert_tokenizer, lambda v: hf.BertConfig(vocab_size=v, **SIZES, **LABELS),
             {'hidden': hf.BertModel, 'classifier': hf.BertForSequenceClassification, 'tokens': hf.BertForTokenClassification, 'language': hf.BertForMaskedLM}),
    'roberta': (roberta_tokenizer, lambda v: hf.RobertaConfig(vocab_size=v, **{**SIZES, 'max_position_embeddings': 34}, type_vocab_size=1, layer_norm_eps=1e-5, **LABELS),
                {'hidden': hf.RobertaModel, 'classifier': hf.RobertaForSequenceClassification, 'tokens': hf.RobertaForTokenClassification, 'language': hf.RobertaForMaskedLM}),
    'albert': (albert_tokenizer, lambda v: hf.AlbertConfig(vocab_size=v, embedding_size=8, **{**SIZES, 'num_hidden_layers': 4}, **LABELS),
               {'hidden': hf.AlbertModel, 'classifier': hf.AlbertForSequenceClassification, 'tokens': hf.AlbertForTokenClassification, 'language': hf.AlbertForMaskedLM}),
    'distilbert': (distilbert_tokenizer, lambda v: hf.DistilBertConfig(vocab_size=v, dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=32, initializer_range=0.25, **LABELS),
                   {'hidden': hf.DistilBertModel, 'classifier': hf.DistilBertForSequenceClassification, 'tokens': hf.DistilBertForTokenClassification, 'language': hf.DistilBertForMaskedLM}),
    'gpt2': (gpt2_tokenizer, lambda v: hf.GPT2Config(vocab_size=v, n_embd=16, n_layer=2, n_head=2, n_positions=32, initializer_range=0.25, bos_token_id=v - 1, eos_token_id=v - 1, pad_token_id=v - 1, **LABELS),
             {'hidden': hf.GPT2Model, 'classifier': hf.GPT2ForSequenceClassification, 'tokens': hf.GPT2ForTokenClassification, 'language': hf.GPT2LMHeadModel}),
}


def numbers(t):
    return [float(f'{x:.7g}') for x in t.detach().flatten().tolist()]


def inputs(kind, config):
    g = torch.Generator().manual_seed(7)
    ids = torch.randint(5, config.vocab_size - 1, (3, 7), generator=g)
    mask = torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [1] * 3 + [0] * 4])
    ids[mask == 0] = config.pad_token_id if config.pad_token_id is not None else 0
    given = {'input_ids': ids, 'attention_mask': mask}
    if kind in ('bert', 'albert'):
        given['token_type_ids'] = torch.tensor([[0, 0, 0, 1, 1, 1, 1]] * 3)
    return given


def make(kind):
    tokenizer, configure, heads = TYPES[kind]
    folder = OUT / kind
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = configure(tokenizer(folder))
    torch.manual_seed(11)
    tensors, expected, body = {}, {'outputs': {}}, None
    given = inputs(kind, config)
    labels = torch.tensor([0, 2, 1])
    for head, cls in heads.items():
        extra = {'add_pooling_layer': True} if head == 'hidden' and kind in ('bert', 'roberta', 'albert') else {}
        model = cls(config, **extra).eval()
        base = getattr(model, model.base_model_prefix, model)
        with torch.no_grad():  # norms and biases are not all 1 and 0
            for name, p in model.named_parameters():
                if p.dim() == 1:
                    p.add_(0.1 * torch.randn_like(p))
        if body is None:
            body = {k: v.clone() for k, v in base.state_dict().items()}
        else:
            base.load_state_dict({k: v for k, v in body.items() if k in base.state_dict()})
        model.tie_weights()
        state = {k: v for k, v in model.state_dict().items()}
        if head == 'hidden':
            state = {f'{model.base_model_prefix}.{k}': v for k, v in state.items()}
        shared = {'lm_head.weight', 'cls.predictions.decoder.weight', 'cls.predictions.decoder.bias', 'lm_head.decoder.weight', 'lm_head.decoder.bias',
                  'predictions.decoder.weight', 'predictions.decoder.bias', 'vocab_projector.weight'}
        state = {k: v for k, v in state.items() if k not in shared}
        prefix = 'tokens/' if head == 'tokens' else ''  # the classifier of tokens has the name of the classifier of texts
        for k, v in state.items():
            tensors.setdefault(prefix + k if prefix and not k.startswith(model.base_model_prefix + '.') else k, v.clone().contiguous())
        out = model(**given)
        if head == 'hidden':
            expected['outputs']['hidden'] = numbers(out.last_hidden_state)
            if getattr(out, 'pooler_output', None) is not None:
                expected['outputs']['pooled'] = numbers(out.pooler_output)
        else:
            # of a language head two positions: the last of the first row, the third of the second
            expected['outputs'][head] = numbers(torch.stack([out.logits[0, -1], out.logits[1, 2]]) if head == 'language' else out.logits)
        if head == 'classifier' or (kind == 'gpt2' and head == 'language'):
            target = {'labels': labels} if head == 'classifier' else {'labels': given['input_ids']}
            loss = model(**given, **target).loss
            loss.backward()
            grads = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
            if kind in ('bert', 'gpt2', 'albert'):
                expected.setdefault('loss', {})[head] = loss.item()
                expected.setdefault('gradientNorms', {})[head] = {k: float(f'{g.norm().item():.7g}') for k, g in grads.items()}
    tokens = {k: v for k, v in tensors.items() if k.startswith('tokens/')}
    tensors = {k: v for k, v in tensors.items() if not k.startswith('tokens/')}
    expected['tokenClassifier'] = {k[len('tokens/'):]: {'shape': list(v.shape), 'values': numbers(v)} for k, v in tokens.items()}
    save_file(tensors, str(folder / 'model.safetensors'), metadata={'format': 'pt'})
    config.architectures = [heads['language' if kind == 'gpt2' else 'classifier'].__name__]
    config.save_pretrained(folder)
    loaded = hf.AutoTokenizer.from_pretrained(folder)
    expected['ids'], expected['mask'] = given['input_ids'].tolist(), given['attention_mask'].tolist()
    if 'token_type_ids' in given:
        expected['types'] = given['token_type_ids'].tolist()
    expected['labels'] = labels.tolist()
    expected['texts'] = [{'text': t, 'ids': loaded(t)['input_ids'], 'decoded': loaded.decode(loaded(t)['input_ids'], skip_special_tokens=True, clean_up_tokenization_spaces=False)} for t in TEXTS]
    if kind == 'gpt2':
        lm = hf.GPT2LMHeadModel(config).eval()
        lm.load_state_dict({k: v for k, v in tensors.items() if k in lm.state_dict()}, strict=False)
        lm.tie_weights()
        prompt = given['input_ids'][:1, :4]
        expected['greedy'] = lm.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=12, eos_token_id=None, pad_token_id=0).tolist()[0]
    write(folder, 'expected.json', expected)


for kind in TYPES:
    make(kind)
